"""`sentryfuse evaluate`: what a model is worth per set of live sensors and pruning ratio."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "accuracy, calibration, FLOPs and latency of a model on a data set, per live sensors and pruning ratio"
FEW_RECORDINGS = 20  # with fewer, a bootstrap over recordings gives intervals that are too narrow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", type=Path, help="model folder or .safetensors file")
    parser.add_argument("dataset", help="a folder written by sentryfuse dataset, or a known data set, e.g. utd_mhad")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--split", default="test", help="part of the data set (default: %(default)s)")
    which.add_argument("--groups", nargs="+", metavar="GROUP", help="instead of a split: subjects, robots, splits by name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table, one row per set of sensors and ratio")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page with plots, to open in a browser")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: %(default)s)")
    parser.add_argument(
        "--latency-runs", type=int, default=60, metavar="N", help="windows timed per cell, 0 to skip (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table, write the files; returns 0. Raises SentryFuseError on a bad model, data set or group."""
    import shlex
    import sys

    from rich.console import Console

    from ..datasets import dataset
    from ..errors import ParameterError
    from ..evaluation.cost import machine
    from ..evaluation.report import evaluate
    from ..runtime.engine import Engine
    from ..training.examples import examples_of

    if args.latency_runs < 0:
        raise ParameterError("--latency-runs", args.latency_runs, "0 or more")
    check_outputs(args)  # before the long part
    engine = Engine.load(args.model, threads=args.threads)
    source = dataset(args.dataset)
    groups = chosen_groups(source.SPLIT, args.split, args.groups)
    examples = examples_of(source.load(engine.specs, groups))
    with Console(stderr=True).status(f"evaluating {len(examples)} windows"):
        measured = evaluate(engine, examples, source.CLASSES, args.latency_runs)
    report = {
        "command": "sentryfuse " + shlex.join(sys.argv[1:]),
        "model": str(args.model),
        "model_sha256": engine.info.get("sha256", ""),
        "model_command": engine.info.get("command", ""),
        "model_data": engine.info.get("data", {}),
        "dataset": args.dataset,
        "provenance": source.PROVENANCE,
        "split": None if args.groups else args.split,
        "groups": list(groups),
        "warnings": leaks(engine.info.get("data", {}), args.dataset, groups, recording_names(examples)) + cautions(measured),
        "machine": machine(args.threads),
        **measured,
    }
    print_report(report)
    write(report, args)
    return 0


def check_outputs(args: argparse.Namespace) -> None:
    """Make the folders of the files asked for; raises SentryFuseError on a file that cannot be written."""
    import os

    from ..errors import SentryFuseError

    for path in filter(None, (args.json, args.csv, args.html)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            bad = "a folder" if path.is_dir() else "" if os.access(path.parent, os.W_OK) else "a folder that is read-only"
        except OSError as error:
            bad = error.strerror or str(error)
        if bad:
            raise SentryFuseError(f"file {path}", bad, "a file that can be written", "choose another path")
    if args.html:
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            raise SentryFuseError(
                "--html",
                "no package matplotlib",
                "matplotlib, which draws the plots",
                "pip install matplotlib, or use --json and --csv",
            ) from error


def write(report: dict[str, Any], args: argparse.Namespace) -> None:
    """The files asked for."""
    import json

    from ..evaluation.report import write_csv

    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.csv:
        write_csv(args.csv, report["rows"])
    if args.html:
        from ..reporting.evaluation_page import page

        args.html.write_text(page(report), encoding="utf-8")


def chosen_groups(splits: dict[str, tuple], split: str, names: list[str] | None) -> tuple:
    """The data set's groups of a split, or those named; raises DataError on one it does not have."""
    from ..errors import DataError

    if names is None:
        if split not in splits:
            raise DataError("--split", split, "one of " + ", ".join(splits), "choose another split, or --groups")
        return tuple(splits[split])
    known = {str(group): group for groups in splits.values() for group in groups}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError("--groups", " ".join(unknown), "among " + " ".join(sorted(known)), "choose groups the data set has")
    return tuple(known[name] for name in names)


def leaks(trained: dict[str, Any], name: str, groups: tuple, recordings: list[str]) -> list[str]:
    """What of these groups and recordings the model knows from its training, ``trained`` being its record of the data."""
    found = []
    for part, what, result in (
        ("train", "trained on", "the numbers say nothing of new data"),
        ("validation", "validated on", "temperatures and choices come from them, so the numbers flatter"),
    ):
        seen = sorted(set(map(str, trained.get(f"{part}_groups", ()))) & set(map(str, groups)))
        if seen and same_data(trained.get("dataset"), name):
            found.append(f"The model was {what} {', '.join(seen)} of this data set: {result}.")
        known = sorted(set(trained.get("recordings", {}).get(part, ())) & set(recordings))
        if known:
            found.append(
                f"{len(known)} of the {len(recordings)} recordings bear names of recordings that the model was {what} "
                f"(e.g. {known[0]}): {result}."
            )
    return found


def same_data(one: str | None, other: str) -> bool:
    """Whether two names are of one data set: known by name, or a folder however its path is written."""
    from ..datasets import DATASETS

    if not one or one in DATASETS or other in DATASETS:
        return one == other
    return Path(one).resolve() == Path(other).resolve()


def recording_names(examples: Any) -> list[str]:
    """The recordings of a window set's examples; none of other examples."""
    from ..training.examples import WindowExamples

    if not isinstance(examples, WindowExamples):
        return []
    return [examples.windows.recordings[place] for place in sorted(set(examples.windows.recording.tolist()))]


def cautions(measured: dict[str, Any]) -> list[str]:
    """What a reader must know of the data before believing the numbers."""
    found = [
        f"{name} had data in only {100 * share:.1f} % of the windows: sets of sensors are judged on the windows in which "
        "one of them had data, so their numbers are not of the same windows."
        for name, share in measured["present"].items()
        if share < 1
    ]
    if measured["recordings"] < FEW_RECORDINGS:
        found.append(
            f"Only {measured['recordings']} recordings: the intervals are too narrow with so few."
            if measured["recordings"] > 1
            else "Only 1 recording: there are no intervals."
        )
    return found


def print_report(report: dict[str, Any]) -> None:
    """One row per set of live sensors at three ratios, then the summary."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    summary, at = report["summary"], {(row["mask"], row["ratio"]): row for row in report["rows"]}
    levels = list(dict.fromkeys((0.0, summary["level_r50"], summary["level_r70"])))
    groups = report["split"] or "groups " + " ".join(map(str, report["groups"]))
    title = (
        f"{report['model']} on {report['dataset']}, {groups}: {report['windows']} windows of {report['recordings']} recordings"
    )
    table = Table(
        title=escape(title),
        box=box.SIMPLE_HEAD,
        caption=f"accuracy % at pruning ratio r; MFLOPs and ms from r=0 to r={levels[-1]:g}; ECE at r=0",
    )
    table.add_column("live sensors")
    for name in (*(f"r={level:g}" for level in levels), "ECE", "MFLOPs", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for mask in dict.fromkeys(row["mask"] for row in report["rows"]):
        rows = [at[mask, level] for level in levels]
        ms = "-" if rows[0]["latency_ms"] is None else f"{rows[0]['latency_ms']:.2f}-{rows[-1]['latency_ms']:.2f}"
        accuracy = ["-" if r["accuracy"] is None else f"{100 * r['accuracy']:.1f}" for r in rows]
        table.add_row(
            escape("+".join(rows[0]["live"])),
            *accuracy,
            "-" if rows[0]["ece"] is None else f"{rows[0]['ece']:.3f}",
            f"{rows[0]['flops'] / 1e6:.1f}-{rows[-1]['flops'] / 1e6:.1f}",
            ms,
        )
    console = Console()
    console.print(table)
    words = [f"all sensors {100 * summary['accuracy_all']:.1f} %"]
    if summary["accuracy_all_ci95"]:
        words[0] += " ({:.1f} to {:.1f})".format(*(100 * end for end in summary["accuracy_all_ci95"]))
    for count in ("one", "two"):
        if summary[f"accuracy_{count}_missing_worst"] is not None:
            words.append(f"worst with {count} missing {100 * summary[f'accuracy_{count}_missing_worst']:.1f} %")
    best = summary["best_single_sensor"]
    words += [
        f"best single sensor {best['name']} {100 * best['accuracy']:.1f} %",
        f"lost at r={summary['level_r50']:g} {summary['drop_r50_points']:.2f} points",
        f"at r={summary['level_r70']:g} {summary['drop_r70_points']:.2f} points",
        f"ECE {summary['ece_mean']:.3f}",
    ]
    console.print("; ".join(words), highlight=False, markup=False)
    for warning in report["warnings"]:
        console.print(warning, style="yellow", markup=False)
