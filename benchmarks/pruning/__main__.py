"""`python -m benchmarks.pruning`: run-time pruning against the usual criteria and against what could explain its gain away."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sentryfuse_ros.errors import ParameterError, SentryFuseError
from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.config import BACKBONES
from sentryfuse_ros.reporting.page_parts import insert

from .archive import read_archive, write_archive
from .plots import save_pictures
from .run_result import RunResult
from .runs import BUDGETS, NETWORK, UNITS, Run, all_runs, network_runs
from .study import Results, execute, finished, report
from .summary import summarise
from .tables import FIGURES, NOT_RUN, tables
from .tasks import TASKS
from .variants import VARIANTS
from .whole.measurement import NETWORK_VARIANTS
from .whole.plots import save_network_picture
from .whole.summary import summarise_network
from .whole.tables import FIGURES as GAINS
from .whole.tables import SIDES, network_tables

EPILOG = """The data sets are read from $SENTRYFUSE_DATA. Two criteria need torch-pruning: pip install torch-pruning==1.6.1.
All runs together take some ten hours on one core. benchmarks/pruning/README.md says what is compared."""
CACHE = Path("runs/pruning")
RESULTS = Path("benchmarks/results/pruning.json")
ARCHIVE = Path("benchmarks/results/pruning_nets.jsonl")
NETWORK_RESULTS = Path("benchmarks/results/pruning_network.json")
NETWORK_ARCHIVE = Path("benchmarks/results/pruning_network_nets.jsonl")
PAGE = "README.md"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.pruning",
        description="Train and compare our run-time pruning, the usual criteria, and the controls. A stopped run is resumed.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--quick", action="store_true", help="one task, one backbone, one seed, a third of the training: takes some minutes"
    )
    parser.add_argument(
        "--budget",
        choices=BUDGETS,
        default=UNITS,
        help="what a pruning ratio is a share of: heads and FFN channels (units, the first study), or everything that a plan may "
        "leave out (network: whole/README.md); default: %(default)s",
    )
    for name, text in (
        ("tasks", "utd_mhad, borealtc, av_digits, and four for accuracy at r = 0 alone; default: all"),
        ("backbones", "early, bottleneck, cross_modal; default: all"),
        ("variants", "ways of training: joint (ours), normal, controls; default: all, with --quick these two"),
    ):
        parser.add_argument(f"--{name}", nargs="+", metavar="NAME", help=text)
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="default: 0 1 2, with --quick 0")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help="trained networks (default: %(default)s)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"the results, written again after each run (default: {RESULTS} or {NETWORK_RESULTS} if all runs are asked for, "
        "else none)",
    )
    parser.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help="results of finished runs: those in it are not trained again, and new ones are added, also with --no-run; "
        "a new FILE together with a new --cache trains everything anew "
        f"(default: {ARCHIVE} or {NETWORK_ARCHIVE} if all runs are asked for, else none)",
    )
    parser.add_argument("--docs", type=Path, metavar="DIR", help=f"fill the tables of DIR/{PAGE} and draw its pictures")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, a core each (default: %(default)s)")
    parser.add_argument("--scheduler", default="", metavar="HOST:PORT", help="run on the Dask cluster of this scheduler instead")
    parser.add_argument("--no-run", action="store_true", help="only report the runs that are finished")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, 2 where an argument or a file is wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        compare(parse(arguments), "python -m benchmarks.pruning " + shlex.join(arguments))
    except SentryFuseError as error:
        print(f"benchmarks.pruning: {error}", file=sys.stderr)
        return 2
    return 0


def compare(args: argparse.Namespace, command: str) -> None:
    """Do the runs that are not finished, print the figures, write the files. Raises SentryFuseError."""
    runs = chosen_runs(args)
    everything = not (args.quick or args.tasks or args.backbones or args.variants or args.seeds)
    network = args.budget == NETWORK
    console, target = Console(), args.json or ((NETWORK_RESULTS if network else RESULTS) if everything else None)
    archive_file = args.archive or ((NETWORK_ARCHIVE if network else ARCHIVE) if everything else None)
    archive = {} if archive_file is None else read_archive(archive_file)
    if not network and find_spec("torch_pruning") is None:
        console.print(
            "torch-pruning is not installed, so its two criteria are left out; to measure them too: "
            "pip install torch-pruning==1.6.1",
            style="yellow",
            markup=False,
        )

    def say(result: RunResult) -> None:
        console.print(
            f"{result.run.name}: accuracy {100 * result.accuracy:.1f} %, trained in {result.train_s:.0f} s, "
            f"measured in {result.measure_s:.0f} s",
            highlight=False,
        )

    if args.no_run:
        stages = iter([finished(runs, args.cache, archive)])
    else:
        stages = execute(runs, args.cache, args.jobs, archive, say, args.scheduler)
    found: dict[str, Any] = {}
    for results in stages:
        left = "" if args.no_run or args.scheduler else time_left(runs, results, args.jobs)
        console.print(f"{len(results)} of {len(runs)} runs finished{left}", highlight=False)
        where = machine_of(target) if args.no_run else machine(1)
        found = report(runs, results, command, where, summarise_network if network else summarise)
        if target is not None and results:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, json.dumps(found, indent=1) + "\n")
        if archive_file is not None and results:
            if dropped := write_archive(archive_file, {run.name: result for run, result in results.items()}):
                console.print(f"{archive_file}: dropped {dropped} outdated runs", style="yellow", markup=False)
    if args.docs and (network or found["finished"]):  # the page of the network budget has figures of the first study too
        insert(args.docs / PAGE, network_tables(found) if network else tables(found))
        if network:
            save_network_picture(found, args.docs)
        elif found["combinations"]:
            save_pictures(found, args.docs)
    (print_gains if network else print_figures)(found, console)


def machine_of(target: Path | None) -> dict[str, Any]:
    """The machine that the results so far were measured on, or this one where there are none."""
    if target is None or not target.exists():
        return machine(1)
    return json.loads(target.read_text(encoding="utf-8"))["machine"]


def time_left(runs: Sequence[Run], results: Results, jobs: int) -> str:
    """An estimate from how long runs of the same task and training took, or any runs where none of these is finished."""
    took: dict[tuple[str, ...], list[float]] = {}
    for run, result in results.items():
        for kind in ((run.task, run.variant), ()):
            took.setdefault(kind, []).append(result.train_s + result.measure_s)
    left = [run for run in runs if run not in results]
    if not left or not results:
        return ""
    minutes = sum(mean(took.get((run.task, run.variant), took[()])) for run in left) / jobs / 60
    return f", about {minutes / 60:.1f} h left" if minutes > 90 else f", about {minutes:.0f} min left"


def chosen_runs(args: argparse.Namespace) -> list[Run]:
    """The runs that are asked for; raises ParameterError on an unknown name, or numbers that make no sense."""
    network = args.budget == NETWORK
    tasks = choose("tasks", args.tasks, tuple(TASKS), ("av_digits",) if args.quick else None)
    shapes, trainings = (("early",), NETWORK_VARIANTS) if network else (BACKBONES, tuple(VARIANTS))
    backbones = choose("backbones", args.backbones, shapes, ("early",) if args.quick else None)
    variants = choose("variants", args.variants, trainings, ("joint", "normal") if args.quick else None)
    seeds = tuple(dict.fromkeys(args.seeds or ((0,) if args.quick else (0, 1, 2))))
    if args.jobs < 1:
        raise ParameterError("--jobs", args.jobs, "1 or more", "give the number of cores to use")
    if network:
        return network_runs(tasks, seeds, variants, args.quick)
    return all_runs(tasks, backbones, seeds, variants, args.quick)


def choose(name: str, asked: Sequence[str] | None, known: tuple[str, ...], default: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names asked for, else the default, else all; raises ParameterError on an unknown one."""
    chosen = tuple(dict.fromkeys(asked or default or known))
    if unknown := [x for x in chosen if x not in known]:
        raise ParameterError(f"--{name}", " ".join(unknown), "among " + ", ".join(known), "correct the name")
    return chosen


def print_figures(report: dict[str, Any], console: Console) -> None:
    """The figures with what they rest on."""
    summary, basis = report["summary"], report["basis"]
    best = summary["strongest_baseline"]
    title = f"strongest baseline: {best} on the normally trained network" if best else None
    shown = Table("figure", "value", "combinations", "seeds", box=box.SIMPLE_HEAD, title=title)
    for name, figure in FIGURES.items():
        value, on = summary.get(name), basis.get(name, {})
        text = NOT_RUN if value is None else f"{100 * value:.1f} %" if figure.unit == "share" else f"{value:+.2f}"
        shown.add_row(figure.words, text, str(on.get("combinations", "-")), str(on.get("seeds", "-")))
    for task, value in summary["accuracy_r0"].items():
        seeds = str(len(basis["accuracy_r0"][task]["by_seed"]))
        shown.add_row(f"accuracy at r = 0, {task}", f"{100 * value:.1f} %", "-", seeds)
    for backbone, value in summary["flops_saving"].items():
        shown.add_row(f"FLOPs saved by SentryAttend, {backbone}", f"{100 * value:.1f} %", "-", "-")
    console.print(shown)


def print_gains(report: dict[str, Any], console: Console) -> None:
    """The relative gains by kind of budget."""
    shown = Table("figure", *SIDES.values(), box=box.SIMPLE_HEAD)
    for name, words in GAINS.items():
        found = [report["gains"][side].get(name) for side in SIDES]
        shown.add_row(words, *(NOT_RUN if f is None else f"{100 * f['value']:.1f} % ({f['seeds']} seeds)" for f in found))
    console.print(shown)


if __name__ == "__main__":
    sys.exit(main())
