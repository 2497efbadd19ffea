"""`sentryfuse bench`: run-time pruning against the usual criteria and against what could explain the gain away."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "train and compare: our run-time pruning, the usual criteria, and the controls; goes on where it was stopped"
EPILOG = """The data sets are read from $SENTRYFUSE_DATA. The two criteria of torch-pruning are there if it is: pip install
torch-pruning==1.6.1. All nets are some ten hours on one core; docs/PRUNING.md says what is compared."""
CACHE = Path("runs/bench")
RESULTS = Path("benchmarks/results/pruning.json")
CELLS = Path("benchmarks/results/pruning_nets.jsonl")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.epilog = EPILOG
    parser.add_argument("what", choices=("pruning",), help="which benchmark")
    parser.add_argument(
        "--quick", action="store_true", help="one application, one backbone, one seed, a third of the training: some minutes"
    )
    for name, text in (
        ("applications", "utd_mhad, borealtc, av_digits, and four for accuracy at r = 0 alone; default: all"),
        ("backbones", "early, bottleneck, cross_modal; default: all"),
        ("variants", "ways of training: joint (ours), normal, controls; default: all, with --quick these two"),
    ):
        parser.add_argument(f"--{name}", nargs="+", metavar="NAME", help=text)
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="default: 0 1 2, with --quick 0")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help="finished nets (default: %(default)s)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"the results, written again after each net (default: {RESULTS} if all are asked for, else none)",
    )
    parser.add_argument(
        "--cells",
        type=Path,
        metavar="FILE",
        help="measurements of finished nets: those in it are not trained again, what the cache has more "
        "is added, also with --no-run; a new FILE and a new --cache train all anew "
        f"(default: {CELLS} if all are asked for, else none)",
    )
    parser.add_argument("--docs", type=Path, metavar="DIR", help="fill the tables of DIR/PRUNING.md and draw its pictures")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="nets at a time, a core each (default: %(default)s)")
    parser.add_argument("--no-run", action="store_true", help="only write the results from the nets that are finished")


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, print the figures, write the files; returns 0. Raises SentryFuseError."""
    import shlex
    import sys
    from importlib.util import find_spec

    from rich.console import Console

    from sentryfuse_ros.evaluation.cost import machine

    from .archive import read_archive, write_archive
    from .run import finished, report
    from .run import run as run_nets

    nets = chosen_nets(args)
    everything = not (args.quick or args.applications or args.backbones or args.variants or args.seeds)
    console, target = Console(), args.json or (RESULTS if everything else None)
    archive_file = args.cells or (CELLS if everything else None)
    archive = {} if archive_file is None else read_archive(archive_file)
    command = "sentryfuse " + shlex.join(sys.argv[1:])
    if find_spec("torch_pruning") is None:
        console.print(
            "torch-pruning is not installed: without its two criteria. They are measured too after: "
            "pip install torch-pruning==1.6.1",
            style="yellow",
            markup=False,
        )

    def said(net: Any, cell: dict[str, Any]) -> None:
        console.print(
            f"{net.name}: accuracy {100 * cell['accuracy']:.1f} %, trained in {cell['train_s']:.0f} s, "
            f"measured in {cell['measure_s']:.0f} s",
            highlight=False,
        )

    stages = [finished(nets, args.cache, archive)] if args.no_run else run_nets(nets, args.cache, args.jobs, archive, said)
    for cells in stages:
        console.print(f"{len(cells)} of {len(nets)} nets finished{_time_left(nets, cells, args)}", highlight=False)
        found = report(nets, cells, command, machine(1))
        write(found, target)
        if archive_file is not None and cells:
            if dropped := write_archive(archive_file, {net.name: cell for net, cell in cells.items()}):
                console.print(f"{archive_file}: {dropped} nets of recipes that are no more dropped", style="yellow", markup=False)
    if args.docs and found["finished"]:
        document(found, args.docs)
    print_figures(found, console)
    return 0


def _time_left(nets: list[Any], cells: dict[Any, dict[str, Any]], args: argparse.Namespace) -> str:
    """From how long nets of the same application and training took, or any where none of these is finished."""
    from statistics import mean

    took: dict[tuple, list[float]] = {}
    for net, cell in cells.items():
        for kind in ((net.application, net.variant), ()):
            took.setdefault(kind, []).append(cell["train_s"] + cell["measure_s"])
    left = [net for net in nets if net not in cells]
    if args.no_run or not left or not cells:
        return ""
    minutes = sum(mean(took.get((net.application, net.variant), took[()])) for net in left) / args.jobs / 60
    return f", about {minutes / 60:.1f} h left" if minutes > 90 else f", about {minutes:.0f} min left"


def chosen_nets(args: argparse.Namespace) -> list[Any]:
    """The nets asked for; raises ParameterError on a name that there is none of, or numbers that make no sense."""
    from sentryfuse_ros.errors import ParameterError
    from sentryfuse_ros.model.config import BACKBONES

    from .applications import APPLICATIONS
    from .nets import nets
    from .variants import VARIANTS

    known = {"applications": tuple(APPLICATIONS), "backbones": BACKBONES, "variants": tuple(VARIANTS)}
    quick = {"applications": ("av_digits",), "backbones": ("early",), "variants": ("joint", "normal")}
    chosen = {}
    for name, all_of_them in known.items():
        asked = getattr(args, name) or (quick[name] if args.quick else all_of_them)
        if unknown := [x for x in asked if x not in all_of_them]:
            raise ParameterError(f"--{name}", " ".join(unknown), "among " + ", ".join(all_of_them))
        chosen[name] = tuple(dict.fromkeys(asked))
    seeds = tuple(dict.fromkeys(args.seeds or ((0,) if args.quick else (0, 1, 2))))
    if args.jobs < 1:
        raise ParameterError("--jobs", args.jobs, "1 or more")
    return nets(chosen["applications"], chosen["backbones"], seeds, chosen["variants"], args.quick)


def write(report: dict[str, Any], target: Path | None) -> None:
    """The results file, replaced as a whole; not by a report of nothing."""
    import json
    import os

    if target is None or not report["finished"]:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, target)


def document(report: dict[str, Any], folder: Path) -> None:
    """Tables and picture of the docs."""
    from .plots import save_pictures
    from .tables import insert, tables

    insert(folder / "PRUNING.md", tables(report))
    if report["combinations"]:
        save_pictures(report, folder)


def print_figures(report: dict[str, Any], console: Any) -> None:
    """The figures with what they rest on."""
    from rich import box
    from rich.table import Table

    from .tables import FIGURES, NOT_RUN

    summary, basis = report["summary"], report["basis"]
    shown = Table(
        "figure",
        "value",
        "combinations",
        "seeds",
        box=box.SIMPLE_HEAD,
        title=(
            f"strongest baseline: {summary['strongest_baseline']} on the normally trained net"
            if summary["strongest_baseline"]
            else None
        ),
    )
    for name, (words, kind) in FIGURES.items():
        value, on = summary.get(name), basis.get(name, {})
        text = NOT_RUN if value is None else f"{100 * value:.1f} %" if kind == "share" else f"{value:+.2f}"
        shown.add_row(words, text, str(on.get("combinations", "-")), str(on.get("seeds", "-")))
    for application, value in summary["accuracy_r0"].items():
        shown.add_row(
            f"accuracy at r = 0, {application}",
            f"{100 * value:.1f} %",
            "-",
            str(len(basis["accuracy_r0"][application]["by_seed"])),
        )
    for backbone, value in summary["flops_saving"].items():
        shown.add_row(f"FLOPs saved by SentryAttend, {backbone}", f"{100 * value:.1f} %", "-", "-")
    console.print(shown)
