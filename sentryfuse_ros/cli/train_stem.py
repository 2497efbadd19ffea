"""`sentryfuse train-stem`: train a patch encoder in the place of a camera's convolutions, in a network that stays as it is."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from .arguments import refuse_several_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--config", required=True, type=Path, metavar="YAML", help="recipe, e.g. config/train_ground_patches.yaml"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for the model and the state of the training"
    )
    parser.add_argument("--dataset", metavar="DIR", help="windows to train on instead of the recipe's")
    parser.add_argument(
        "--drives", nargs="+", action="extend", metavar="DIR", help="folders of their recordings instead of the recipe's"
    )
    parser.add_argument(
        "--stops", nargs="+", action="extend", metavar="DIR", help="folders of recordings with stops instead of the recipe's"
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="keep the cameras' pictures there for another run")
    parser.add_argument("--tokens", type=Path, metavar="DIR", help="keep the tokens of the windows there for another run")
    parser.add_argument("--steps", type=int, help="steps to train instead of the recipe's")
    parser.add_argument("--seed", type=int, help="seed to use instead of the recipe's")
    parser.add_argument("--resume", action="store_true", help="continue the training in --out")


def run(args: argparse.Namespace) -> int:
    """Train; returns 0. Raises SentryFuseError on a bad recipe or missing data."""
    refuse_several_processes("train-stem")
    from dataclasses import replace

    from ..training.stem_recipe import StemTraining
    from ..training.stem_run import train_stem

    training = StemTraining.read(args.config)
    if args.dataset:
        training = replace(training, dataset=args.dataset)
    if args.drives:
        training = replace(training, drives=tuple(args.drives))
    if args.stops:
        training = replace(training, stops=tuple(args.stops))
    if args.seed is not None:
        training = replace(training, seed=args.seed)
    if args.steps is not None:
        training = replace(training, recipe=replace(training.recipe, steps=args.steps))
    folder = train_stem(
        training,
        args.out,
        lambda line: print(line, flush=True),
        "sentryfuse " + shlex.join(sys.argv[1:]),
        args.pictures,
        args.tokens,
        args.resume,
    )
    print(f"model written to {folder}; measure it with: python -m benchmarks.streamed_captions --model {folder}")
    return 0
