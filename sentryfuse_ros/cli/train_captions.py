"""`sentryfuse train-captions`: train the caption head of a model."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from .arguments import refuse_several_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="trained model, e.g. models/ground_robot")
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR", help="windows, from `sentryfuse dataset`")
    parser.add_argument(
        "--drives",
        required=True,
        type=Path,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="folders of the simulated drives, for their truth",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: captions.safetensors beside the model)")
    parser.add_argument("--tokens", type=Path, metavar="DIR", help="keep the tokens of the windows here, for another run")
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="FILE",
        help="begin with this head, for instance after the model was trained on; a few hundred steps are then enough",
    )
    parser.add_argument("--steps", type=int, help="steps to train")
    parser.add_argument("--batch", type=int, help="windows in a step")
    parser.add_argument("--learning-rate", type=float, help="highest learning rate")
    parser.add_argument("--minutes", type=float, help="finish within this time, whatever the number of steps")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to train (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Train; returns 0. Raises SentryFuseError on missing data."""
    refuse_several_processes("train-captions")
    from dataclasses import replace

    from ..language.trainer import CaptionSchedule
    from ..language.training import CaptionTask, train_captions

    given = {
        "steps": args.steps,
        "batch": args.batch,
        "learning_rate": args.learning_rate,
        "stop_after_s": None if args.minutes is None else 60.0 * args.minutes,
    }
    result = train_captions(
        CaptionTask(
            args.model,
            args.dataset,
            tuple(args.drives),
            args.out,
            args.tokens,
            schedule=replace(CaptionSchedule(), **{name: value for name, value in given.items() if value is not None}),
            start_from=args.start_from,
            device=args.device,
            command="sentryfuse " + shlex.join(sys.argv[1:]),
        ),
        lambda step: print(
            f"step {step.step}: loss per word {step.loss:.3f}, {step.validation:.3f} on validation; {step.elapsed_s:.0f} s",
            flush=True,
        ),
    )
    print(
        f"caption head of {result.parameters / 1e6:.2f} M parameters written to {result.path}; "
        f"{result.validation.true:.1%} of {result.validation.statements} stated facts are true on validation drives"
    )
    return 0
