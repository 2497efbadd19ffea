"""`sentryfuse train-stream`: train a network with a patch encoder on people before a depth camera."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from .arguments import refuse_several_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--config", required=True, type=Path, metavar="YAML", help="recipe, e.g. config/train_utd_mhad_stream.yaml"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the model")
    parser.add_argument("--steps", type=int, help="steps to train instead of the recipe's")
    parser.add_argument("--seed", type=int, help="seed to use instead of the recipe's")
    parser.add_argument("--begin-with", metavar="MODEL", help="model to take the first weights from instead of the recipe's")
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="MODEL",
        help="begin with the second stage, from this model; also after an interruption",
    )
    parser.add_argument(
        "--validate-on",
        type=int,
        nargs="+",
        action="extend",
        metavar="SUBJECT",
        help="take these subjects out and validate on them",
    )


def run(args: argparse.Namespace) -> int:
    """Train; returns 0. Raises SentryFuseError on a bad recipe or missing data."""
    refuse_several_processes("train-stream")
    from dataclasses import replace

    from ..training.stream_recipe import StreamTraining
    from ..training.stream_run import train_stream

    training = StreamTraining.read(args.config)
    changes = {name: getattr(args, name) for name in ("steps", "seed", "begin_with") if getattr(args, name) is not None}
    if args.validate_on:
        left = tuple(s for s in training.train_subjects if s not in args.validate_on)
        changes |= {"train_subjects": left, "validation_subjects": tuple(args.validate_on)}
    folder = train_stream(
        replace(training, **changes),
        args.out,
        lambda line: print(line, flush=True),
        "sentryfuse " + shlex.join(sys.argv[1:]),
        args.start_from,
    )
    print(f"model written to {folder}; measure it with: sentryfuse bench streaming --model {folder}")
    return 0
