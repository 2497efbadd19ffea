"""`sentryfuse trust`: let a model notice sensors that lie."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "model", help="model folder or .safetensors file, not the name of a shipped model; its weights are not changed"
    )
    parser.add_argument("dataset", help="what it was trained on: a folder written by sentryfuse dataset, or a known data set")
    parser.add_argument(
        "--groups",
        nargs="+",
        action="extend",
        metavar="GROUP",
        default=[],
        help="groups of its training (default: as its JSON says)",
    )
    parser.add_argument(
        "--validate-on",
        nargs="+",
        action="extend",
        metavar="GROUP",
        default=[],
        help="groups held out of it (default: as its JSON says)",
    )
    parser.add_argument(
        "--inputs",
        nargs="+",
        action="extend",
        metavar="NAME",
        default=[],
        help="model inputs to look at (default: all; the others keep their table)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the trust file; returns 0. Raises SentryFuseError on a bad model, data set or group."""
    import shlex
    import sys

    from rich.console import Console

    from ..training.trust_run import TrustTask, make_trust_file

    console = Console()
    task = TrustTask(
        _model_file(args.model),
        args.dataset,
        tuple(args.groups),
        tuple(args.validate_on),
        tuple(args.inputs),
        "sentryfuse " + shlex.join(sys.argv[1:]),
    )
    with Console(stderr=True).status("looking at the windows of the training"):
        file = make_trust_file(task, lambda text: console.print(text, markup=False, soft_wrap=True))
    console.print(f"written to {file}", markup=False, soft_wrap=True)
    return 0


def _model_file(model: str) -> Path:
    """The model whose trust file is written. Raises ParameterError for the mere name of a shipped model."""
    from ..errors import ParameterError
    from ..paths import expanded, share_path

    path = expanded(model)
    shipped = share_path("models") / model
    if path.exists() or path.name != model or not shipped.exists():
        return path
    raise ParameterError(
        "model",
        f"the name of a shipped model, {model!r}",
        "a folder or .safetensors file, because the trust file is written beside it",
        f"copy {shipped} and give the copy",
    )
