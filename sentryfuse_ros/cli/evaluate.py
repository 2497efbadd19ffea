"""`sentryfuse evaluate`: what a model is worth per set of live sensors and pruning ratio."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "accuracy, calibration, FLOPs and latency of a model on a data set, per live sensors and pruning ratio"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", type=Path, help="model folder or .safetensors file")
    parser.add_argument("dataset", help="data set, e.g. utd_mhad")
    parser.add_argument("--groups", type=int, nargs="+", metavar="GROUP", help="default: the data set's test split")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table and where it comes from")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")


def run(args: argparse.Namespace) -> int:
    """Print the table; returns 0. Raises SentryFuseError on a bad model, data set or group."""
    import json
    import shlex
    import sys

    from rich.console import Console
    from rich.table import Table

    from ..datasets import dataset, split_groups
    from ..engine import Engine
    from ..training.evaluation import evaluate, machine

    engine = Engine.load(args.model, threads=args.threads)
    source = dataset(args.dataset)
    groups = tuple(args.groups or source.SPLIT["test"])
    recordings = split_groups(source.load(engine.specs, groups), groups)
    rows = evaluate(engine, recordings)

    table = Table(title=f"{args.model} on {args.dataset}, groups {' '.join(map(str, groups))}, {len(recordings)} recordings")
    for name in ("live sensors", "ratio", "accuracy %", "live window %", "ECE", "MFLOPs", "k params", "latency ms"):
        table.add_column(name, justify="left" if name == "live sensors" else "right")
    for row in rows:
        table.add_row(" + ".join(row["live"]), f"{row['ratio']:.1f}", f"{100 * row['accuracy']:.1f}",
                      f"{100 * row['accuracy_live']:.1f}", f"{row['ece']:.3f}", f"{row['flops'] / 1e6:.1f}",
                      f"{row['params'] / 1e3:.0f}", f"{row['latency_ms']:.2f}")
    Console().print(table)
    if args.json:
        report = {"command": "sentryfuse " + shlex.join(sys.argv[1:]), "model": str(args.model), "dataset": args.dataset,
                  "provenance": source.PROVENANCE, "groups": list(groups), "recordings": len(recordings),
                  "model_sha256": engine.info.get("sha256", ""), "machine": machine(args.threads), "rows": rows}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0
