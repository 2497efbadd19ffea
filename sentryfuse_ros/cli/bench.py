"""`sentryfuse bench`: measure how long an inference takes at each pruning ratio on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import ParameterError
from ..files import write_atomically
from ..paths import model_path
from . import bench_faults

LATENCY = """\
Inference time at batch size 1 for every pruning ratio of a model, with all sensors live and with each one missing. No
data is needed: the inputs are noise, because the time depends on their shapes and not on their values.
"""
ROUNDS, QUICK_ROUNDS = 100, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    latency = benches.add_parser("latency", help="inference time per pruning ratio", description=LATENCY)
    latency.add_argument("--model", default="ground_robot", help="checkpoint folder or name (default: %(default)s)")
    latency.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="runs of every plan (default: %(default)s)")
    latency.add_argument("--quick", action="store_true", help=f"only {QUICK_ROUNDS} rounds, for a first impression")
    latency.add_argument("--threads", type=int, default=1, help="CPU threads of one inference (default: %(default)s)")
    latency.add_argument("--device", default="cpu", choices=("cpu", "cuda", "auto"), help="where it runs (default: %(default)s)")
    latency.add_argument(
        "--budget",
        default="time",
        choices=("time", "flops"),
        help="what a ratio is a share of: measured time, as in fuse_node, or FLOPs of the fusion network (default: %(default)s)",
    )
    latency.add_argument("--json", metavar="FILE", help="write the numbers to this file as well")
    faults = benches.add_parser(
        "faults", help="every fault against the promises, over real topics", description=bench_faults.FAULTS
    )
    bench_faults.add_arguments(faults)


def run(args: argparse.Namespace) -> int:
    """Measure and print. Raises SentryFuseError."""
    if args.bench == "faults":
        return bench_faults.run(args)
    from ..evaluation.latency import measure_latency
    from ..reporting.latency_table import latency_table
    from ..runtime.engine import Engine
    from ..runtime.plan_costs import choose_by_time

    if args.rounds < 1:
        raise ParameterError("--rounds", args.rounds, "1 or more")
    engine = Engine.load(model_path(args.model), args.device, args.threads)
    if args.budget == "time":
        try:
            choose_by_time(engine, args.threads)
        except ParameterError as error:
            print(f"note: a ratio is a share of FLOPs here: {error}", file=sys.stderr)
    report = measure_latency(engine, QUICK_ROUNDS if args.quick else args.rounds, args.threads)
    print(latency_table(report))
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(args.json, json.dumps(report.to_dict(), indent=1) + "\n")
    return 0
