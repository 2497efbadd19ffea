"""`sentryfuse train`: train a model by a recipe."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .arguments import add_map, add_params, refuse_beside, topics_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, metavar="YAML", help="recipe, e.g. config/train_utd_mhad.yaml")
    what.add_argument(
        "--example",
        type=Path,
        metavar="DATASET",
        help="instead of training, write a recipe that fits a data set or a recording to the file --out",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for state, metrics and the model")
    add_params(
        parser, "with --example RECORDING: parameter file of fuse_node with the sensors and topics (default: config/fuse.yaml)"
    )
    add_map(parser)
    parser.add_argument("--resume", action="store_true", help="continue the run in --out; the result is as if it had not stopped")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe, e.g. batch=64, elastic.epochs=0 or 'train_groups=[a, b]'; may be repeated",
    )
    parser.add_argument("--seed", type=int, help="seed to use instead of the recipe's")
    parser.add_argument("--epochs", type=int, help="number of epochs to train instead of the recipe's")
    parser.add_argument(
        "--validate-on",
        nargs="+",
        action="extend",
        metavar="GROUP",
        help="take these groups (subjects, places, recordings) out of training and validate on them",
    )
    parser.add_argument(
        "--cross-validate",
        type=int,
        metavar="N",
        help="train N models, each without another part of the subjects, places or recordings, and print mean and spread",
    )
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="DIR",
        help="take this trained model in place of the first stage, and train the elastic stage only",
    )
    parser.add_argument(
        "--calibrate-from",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="fit the temperatures on the pooled validation predictions of these runs",
    )


def run(args: argparse.Namespace) -> int:
    """Train; returns 0. Raises SentryFuseError on a bad recipe, missing data, or options that do not go together."""
    one_model = {"--start-from": args.start_from, "--calibrate-from": args.calibrate_from, "--validate-on": args.validate_on}
    if args.example is not None:
        training = {"--resume": args.resume, "--set": args.changes, "--seed": args.seed, "--epochs": args.epochs}
        refuse_beside("--example", {**training, "--cross-validate": args.cross_validate, **one_model})
        return write_example(args.example, args.params_file, args.map, args.out)
    refuse_beside("--config", {"--params": args.params_file, "--map": args.map})
    if args.cross_validate is not None:
        refuse_beside("--cross-validate", one_model)
    from dataclasses import replace

    from ..reporting.cross_validation_console import print_folds
    from ..training.cross_validation import cross_validate, held_out
    from ..training.recipe import Recipe
    from ..training.run import train

    recipe = Recipe.read(args.config, args.changes)
    changes = {name: getattr(args, name) for name in ("seed", "epochs") if getattr(args, name) is not None}
    if args.validate_on:
        changes |= held_out(recipe, args.validate_on)
    prints = os.environ.get("RANK", "0") == "0"  # of several processes, only the first does
    if args.cross_validate is not None:
        folds = cross_validate(
            replace(recipe, **changes),
            args.out,
            args.cross_validate,
            resume=args.resume,
            command="sentryfuse " + shlex.join(sys.argv[1:]),
        )
        if prints:
            print_folds(folds, recipe)
        return 0
    try:
        folder = train(
            replace(recipe, **changes),
            args.out,
            resume=args.resume,
            calibrate_from=args.calibrate_from,
            start_from=args.start_from,
            command="sentryfuse " + shlex.join(sys.argv[1:]),
        )
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on from the last complete epoch", file=sys.stderr)
        raise
    if prints:
        what = shlex.join([str(folder), str(recipe.dataset)])
        print(f"model written to {folder}; measure it with: sentryfuse evaluate {what}")
        print(f"to let it notice sensors that lie: sentryfuse trust {what}")
    return 0


def write_example(source: Path, params: Path | None, mapped: Sequence[str], out: Path) -> int:
    """Write a recipe that fits a folder of windows, or the sensors of a recording. Raises SentryFuseError."""
    from ..bags.find import find_bags
    from ..datasets.proposed_inputs import inputs_of_recording
    from ..datasets.window_folder import DESCRIPTION, WindowFolder
    from ..errors import ParameterError, reason_of
    from ..files import write_atomically
    from ..paths import share_path
    from ..settings import build_settings, named_topics, read_yaml, unknown_names
    from ..training.example_recipe import counts_of, example_recipe, inputs_of_windows

    if out.exists():
        raise ParameterError("--out", str(out), "a file that is not there yet", "choose another name")
    if (source / DESCRIPTION).exists():
        folder = WindowFolder(source)
        text = example_recipe(str(source), inputs_of_windows(folder), counts_of(folder))
        then = shlex.join(["sentryfuse", "train", "--config", str(out), "--out", "MODEL"])
    else:
        flat = read_yaml(params or share_path("config", "fuse.yaml"))
        named = named_topics(flat) if params else frozenset()
        sensors = build_settings(flat).sensors
        names = [sensor.name for sensor in sensors]
        for text in unknown_names(flat, names):
            _warn(text)
        inputs = inputs_of_recording(find_bags([source])[0], sensors, topics_of(mapped, names), named, _warn)
        text = example_recipe("windows", inputs, {})
        command = ["sentryfuse", "dataset", str(source), "--labels", "LABELS", "--config", str(out), "--out", "windows"]
        command += [word for entry in mapped for word in ("--map", entry)]
        then = shlex.join(command + (["--params", str(params)] if params else []))
    try:
        write_atomically(out, text)
    except OSError as error:
        raise ParameterError("--out", str(out), f"a file that can be written ({reason_of(error)})") from error
    print(f"recipe written to {out}; next: {then}")
    return 0


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
