"""`sentryfuse dataset`: build a data set of labelled windows from recordings of your own."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_map, add_params, topics_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "bags", nargs="+", type=Path, metavar="BAG", help="rosbag2 folders, mcap or db3 files, or folders of such"
    )
    parser.add_argument(
        "--labels",
        required=True,
        metavar="TOPIC|FILE",
        help="topic with the labels (/ground_truth/ground), or a CSV file with t_from,t_to,label: the name of a file in "
        "every bag's folder (intervals.csv), or one file for all bags, with a column bag",
    )
    parser.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="training YAML; its modalities define the windows"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write")
    add_params(parser, "parameter file of fuse_node with the sensors and topics (default: config/fuse.yaml)")
    add_map(parser)
    parser.add_argument("--stride", type=float, default=0.5, metavar="S", help="seconds between windows (default: %(default)s)")
    parser.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=(0.7, 0.15, 0.15),
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the splits; whole bags are drawn, except those whose run.json names a split (default: 0.7 0.15 0.15)",
    )
    parser.add_argument(
        "--group-by",
        default="",
        metavar="REGEX|FILE.csv:COLUMN",
        help="keep recordings of one person, place or day in one split: a regular expression whose first group in the bag's name "
        "says which (subject(\\d+)), or a CSV table with a column bag and the one that is named",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for drawing the splits (default: %(default)s)")
    parser.add_argument("--ignore", nargs="+", action="extend", default=[], metavar="LABEL", help="labels to leave out")
    parser.add_argument(
        "--label-at",
        choices=("end", "whole"),
        default="end",
        help="end: a window has the label that holds at its end; whole: only windows with one label throughout are kept. Windows "
        "in which the label changes are marked, and used for training only if the recipe says so (default: %(default)s)",
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of processes (default: %(default)s)")
    parser.add_argument("--scheduler", default="", metavar="HOST:PORT", help="run on the Dask cluster of this scheduler instead")


def run(args: argparse.Namespace) -> int:
    """Build; returns 0. Raises SentryFuseError if no window can be extracted."""
    import math
    import shlex
    import sys

    from rich.console import Console

    from ..bags.find import check_there, find_bags
    from ..bags.run_description import SPLITS
    from ..datasets.builder import DatasetTask, build_dataset
    from ..datasets.extract import WindowSettings
    from ..errors import ParameterError
    from ..paths import share_path
    from ..reporting.dataset_console import print_report
    from ..reporting.progress import progress_bar
    from ..settings import build_settings, named_topics, read_yaml, unknown_names
    from ..training.recipe import Recipe

    if not 0.01 <= args.stride <= 3600:
        raise ParameterError("--stride", args.stride, "0.01 to 3600 seconds")
    if min(args.split) < 0 or not 0 < sum(args.split) < math.inf:
        raise ParameterError("--split", args.split, "three shares, none negative, not all 0")
    recipe, flat = Recipe.read(args.config), read_yaml(args.params_file or share_path("config", "fuse.yaml"))
    settings = build_settings(flat)
    for text in unknown_names(flat, (s.name for s in settings.sensors)):
        print(f"warning: {text}", file=sys.stderr)
    chosen = topics_of(args.map, [s.name for s in settings.sensors])
    check_there(args.bags)
    task = DatasetTask(
        bags=tuple(find_bags(args.bags)),
        labels=args.labels,
        settings=WindowSettings(
            tuple(recipe.specs),
            tuple(settings.sensors),
            args.stride,
            tuple(args.ignore),
            args.label_at,
            recipe.classes,
            chosen,
            named_topics(flat) if args.params_file else frozenset(),
        ),
        out=args.out,
        shares=dict(zip(SPLITS, args.split, strict=True)),
        seed=args.seed,
        group_by=args.group_by,
        jobs=args.jobs,
        scheduler=args.scheduler,
        command="sentryfuse " + shlex.join(sys.argv[1:]),
    )
    with progress_bar("extracting", len(task.bags), "bags", Console(stderr=True)) as update:
        description = build_dataset(task, update)
    print_report(description)
    print(f"data set written to {args.out}")
    return 0
