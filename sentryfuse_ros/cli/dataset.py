"""`sentryfuse dataset`: recordings of your own to labelled windows."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "cut recordings into labelled windows to train and evaluate on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    from ..paths import share_path

    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="rosbag2 folders, or folders of such")
    parser.add_argument(
        "--labels",
        required=True,
        metavar="TOPIC|FILE",
        help="topic with the label (/ground_truth/ground), or CSV with t_from,t_to,label: the name of a file in "
        "every bag's folder (intervals.csv), or one file for all with a column bag",
    )
    parser.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="training YAML; its modalities say what windows look like"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--params",
        type=Path,
        default=share_path("config", "fuse.yaml"),
        metavar="FILE",
        help="parameter file of fuse_node that names sensors and topics (default: the package's)",
    )
    parser.add_argument("--stride", type=float, default=0.5, metavar="S", help="a window every S seconds (default %(default)s)")
    parser.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=(0.7, 0.15, 0.15),
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares, by bag; a run.json beside a bag may name its split instead (default 0.7 0.15 0.15)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw of splits (default 0)")
    parser.add_argument("--ignore", nargs="+", default=[], metavar="LABEL", help="labels to leave out")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")


def run(args: argparse.Namespace) -> int:
    """Build; returns 0. Raises SentryFuseError where nothing can be cut."""
    import shlex
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ..datasets.builder import build
    from ..errors import ParameterError
    from ..settings import build_settings, read_yaml
    from ..training.recipe import Recipe

    if not 0.01 <= args.stride <= 3600:
        raise ParameterError("--stride", args.stride, "0.01 to 3600 seconds")
    if min(args.split) < 0 or not sum(args.split) > 0:
        raise ParameterError("--split", args.split, "three shares, none negative, not all 0")
    recipe, settings = Recipe.read(args.config), build_settings(read_yaml(args.params))
    bags = find_bags(args.bags)
    console = Console(stderr=True)
    with Progress(
        TextColumn("cutting"), BarColumn(), MofNCompleteColumn(), TextColumn("bags"), TimeRemainingColumn(), console=console
    ) as bar:
        task = bar.add_task("", total=len(bags))
        about = build(
            bags,
            args.labels,
            recipe.specs,
            settings.sensors,
            args.out,
            args.stride,
            dict(zip(("train", "val", "test"), args.split, strict=True)),
            args.seed,
            args.ignore,
            args.jobs,
            "sentryfuse " + shlex.join(sys.argv[1:]),
            lambda done: bar.update(task, completed=done),
        )
    print_report(about, Console())
    print(f"data set written to {args.out}")
    return 0


def find_bags(paths: list[Path]) -> list[Path]:
    """Bags themselves, and those in the folders given, by name. Raises BagError where a path has none."""
    from ..errors import BagError

    found = []
    for path in (p.resolve() for p in paths):
        if path.is_file() or (path / "metadata.yaml").exists():
            found.append(path if path.is_dir() else path.parent)
            continue
        inside = sorted(p.parent for p in path.glob("*/metadata.yaml"))
        if not inside:
            raise BagError(
                f"bag {path}",
                "no metadata.yaml there or one folder below",
                "a rosbag2 folder, or a folder of such",
                "check the path",
            )
        found += inside
    return found


def print_report(about: dict, console) -> None:
    """Windows by class and split, what was skipped and why, what was not used."""
    from collections import Counter

    from rich.markup import escape
    from rich.table import Table

    splits = [s for s in ("train", "val", "test") if any(bag["split"] == s for bag in about["bags"])]
    table = Table(title=f"{about['windows']} windows of {len(about['bags'])} bags")
    table.add_column("class")
    for split in splits:
        table.add_column(f"{split} ({sum(b['split'] == split for b in about['bags'])} bags)", justify="right")
    for name in about["classes"]:
        counts = [sum(b["labels"].get(name, 0) for b in about["bags"] if b["split"] == s) for s in splits]
        table.add_row(escape(name), *(str(c) if c else "[red]none[/red]" for c in counts))
    console.print(table)
    empty = [s for s in ("train", "val", "test") if s not in splits]
    if empty:
        console.print(f"[yellow]no bag for {' and '.join(empty)}[/yellow]: too few bags, or their run.json names other splits")
    every = about["bags"] + about["left_out"]
    skipped, bags_with = Counter(), Counter()
    for bag in every:
        skipped.update(bag.get("skipped", {}))
        bags_with.update(dict.fromkeys(bag.get("skipped", {}), 1))
    for reason, count in skipped.most_common():
        console.print(f"skipped {count} moments in {bags_with[reason]} bags: {reason}")
    for bag in about["left_out"]:
        why = ", ".join(f"{count} moments {reason}" for reason, count in bag.get("skipped", {}).items())
        short = f"it lasts {bag.get('duration_s', 0):g} s" if not why else why
        console.print(f"left out bag {bag['name']}: {bag['error'] or 'no window, ' + short}", markup=False)
    for sensor in dict.fromkeys(sensor for bag in every for sensor in bag.get("faults", {})):
        texts = [f"{bag['name']}: {bag['faults'][sensor]}" for bag in every if sensor in bag.get("faults", {})]
        console.print(f"{sensor}: messages refused in {len(texts)} bags, as in {texts[0]}", markup=False)
    missing = Counter(
        m["name"]
        for bag in about["bags"]
        for m in about["modalities"]
        if not any(s[3] == m["name"] and s[0] in bag["topics"] for s in about["sensors"])
    )
    for name, count in missing.items():
        console.print(f"no topic for {name} in {count} of {len(about['bags'])} bags: absent there")
    unused = {topic: kind for bag in about["bags"] for topic, kind in bag["unused"].items()}
    if unused:
        console.print("not used: " + ", ".join(f"{topic} ({kind})" for topic, kind in sorted(unused.items())), markup=False)
