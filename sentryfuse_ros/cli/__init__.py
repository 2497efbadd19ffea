"""`sentryfuse VERB`: one verb per file of this folder; each has HELP, add_arguments(parser), run(args) -> exit status."""

from __future__ import annotations

import argparse
import importlib
import sys

from ..errors import SentryFuseError

# Named here, not discovered, so that `sentryfuse --help` imports nothing heavy.
VERBS = {
    "demo": "the main job in a minute: a simulated drive, sensor losses, a draining battery, a live view, a report",
    "replay": "play a rosbag into fuse_node over real topics, with scripted faults, and check its promises",
    "doctor": "what is installed, what would lose messages, and what to do about it",
    "simulate": "record a simulated robot driving over changing ground: camera, IMU, sound, LiDAR, battery and the truth",
    "dataset": "cut recordings into labelled windows to train and evaluate on",
    "train": "train a model",
    "evaluate": "accuracy, calibration and cost of a model per modality mask and pruning ratio",
}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="sentryfuse", description="Sensor fusion that survives dropout and a draining battery.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    wanted = next((a for a in arguments if not a.startswith("-")), None)
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        if verb == wanted:
            importlib.import_module(f"{__name__}.{verb}").add_arguments(sub)
    args = parser.parse_args(arguments)
    try:
        return importlib.import_module(f"{__name__}.{args.verb}").run(args) or 0
    except SentryFuseError as error:
        print(f"sentryfuse {args.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `sentryfuse doctor | head`
        sys.stderr.close()
        return 141
