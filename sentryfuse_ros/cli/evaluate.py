"""`sentryfuse evaluate`: how good a model is for every set of live sensors and pruning ratio."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", help="checkpoint folder or .safetensors file, or the name of a shipped model")
    parser.add_argument("dataset", help="a folder written by sentryfuse dataset, or a known data set, e.g. utd_mhad")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--split",
        help="train, val or test (default: the test_groups of the recipe if the model was trained on this data set, else test)",
    )
    which.add_argument(
        "--groups", nargs="+", action="extend", metavar="GROUP", help="instead of a split: subjects, robots, or splits by name"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table, one row per set of sensors and ratio")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with figures, to be opened in a browser")
    parser.add_argument(
        "--budget",
        choices=("flops", "time"),
        default="flops",
        help="what a ratio is a share of: FLOPs of the fusion network, or measured time, as in fuse_node (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one inference (default: %(default)s)")
    parser.add_argument(
        "--latency-runs", type=int, default=60, metavar="N", help="windows timed per cell, 0 for none (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files and print the table; returns 0. Raises SentryFuseError on a bad model, data set or group."""
    import shlex
    import sys

    from rich.console import Console

    from ..evaluation.report import Evaluation, EvaluationTask
    from ..paths import model_path
    from ..reporting.evaluation_console import print_report
    from ..reporting.evaluation_files import EvaluationFiles

    files = EvaluationFiles(args.json, args.csv, args.html)
    files.check()
    evaluation = Evaluation(
        EvaluationTask(
            model=model_path(args.model),
            dataset=args.dataset,
            split=args.split,
            groups=tuple(args.groups) if args.groups else None,
            threads=args.threads,
            latency_runs=args.latency_runs,
            budget=args.budget,
            command="sentryfuse " + shlex.join(sys.argv[1:]),
        )
    )
    with Console(stderr=True).status(f"evaluating {len(evaluation.examples)} windows"):
        report = evaluation.run()
    files.write(report)  # first, because a console may be gone or full by now
    print_report(report)
    return 0
