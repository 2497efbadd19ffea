"""`sentryfuse bench`: measure on this machine what inference, the node, its memory and its receive path cost."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ParameterError
from ..evaluation.node_cost import BenchTask
from ..files import check_writable, write_atomically
from ..nodes import door
from ..paths import model_path
from ..runtime.governor_config import RATIO_LIMIT
from . import bench_faults, bench_streaming

LATENCY = """\
Inference time at batch size 1 for every pruning ratio of a model, with all sensors live and with each one missing. No
data is needed: the inputs are noise, because the time depends on their shapes and not on their values.
"""
_LOAD = """\
The load comes from a process of its own over real topics: images of 640x480 at 30 Hz, clouds of 65000 points at 10 Hz, IMU
at 400 Hz and sound at 50 Hz, as far as the model has inputs for them. Leave the machine alone meanwhile.
"""
NODE = "CPU time of the whole fuse_node by pruning ratio, each run in a fresh process.\n" + _LOAD
MEMORY = "Memory of the whole fuse_node, the time of its start, and what a pruning ratio saves of the model's memory.\n" + _LOAD
RECEIVE = (
    """\
CPU time of receiving with the checks of every message (watched) and also with rows for the model (decoded), against an
ordinary rclpy node that only counts its messages.
"""
    + _LOAD
)
ROUNDS, QUICK_ROUNDS = 100, 5  # of `latency`, whose rounds take milliseconds
NODE_ROUNDS, NODE_SECONDS = 3, 15.0
QUICK_NODE_ROUNDS, QUICK_NODE_SECONDS = 1, 4.0
RATIOS, QUICK_RATIOS = (0.0, 0.5, 0.9), (0.0, 0.9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    latency = _add(benches, "latency", "inference time per pruning ratio", LATENCY)
    latency.add_argument("--rounds", type=int, metavar="N", help=f"runs of every plan (default: {ROUNDS}, quick {QUICK_ROUNDS})")
    latency.add_argument("--threads", type=int, default=1, help="CPU threads of one inference (default: %(default)s)")
    latency.add_argument("--device", default="cpu", choices=("cpu", "cuda", "auto"), help="where it runs (default: %(default)s)")
    latency.add_argument(
        "--budget",
        default="time",
        choices=("time", "flops"),
        help="what a ratio is a share of: measured time, as in fuse_node, or FLOPs of the fusion network (default: %(default)s)",
    )
    latency.add_argument(
        "--before",
        type=Path,
        metavar="PREFIX",
        help="virtual environment of another version of this package, whose engine is timed in turn with this one",
    )
    node = _add_node(benches, "node", "CPU time of the whole node per pruning ratio", NODE)
    node.add_argument(
        "--ratios", type=float, nargs="+", action="extend", metavar="R", help="pruning ratios (default: 0 0.5 0.9, quick 0 0.9)"
    )
    node.add_argument("--before", type=Path, metavar="PREFIX", help="also run the node of another virtual environment")
    _add_node(benches, "memory", "memory of the node and of a plan, and the time of its start", MEMORY)
    _add_node(benches, "receive", "CPU time of the receive path against an ordinary node's", RECEIVE)
    faults = benches.add_parser(
        "faults", help="every fault against the promises, over real topics", description=bench_faults.FAULTS
    )
    bench_faults.add_arguments(faults)
    streaming = benches.add_parser(
        "streaming", help="what a camera's stream saves and costs", description=bench_streaming.STREAMING
    )
    bench_streaming.add_arguments(streaming)


def _add(benches: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    bench: argparse.ArgumentParser = benches.add_parser(name, help=text, description=description)
    bench.add_argument("--model", default="ground_robot", help="checkpoint folder or name (default: %(default)s)")
    bench.add_argument("--quick", action="store_true", help="few and short runs, for a first impression")
    bench.add_argument("--json", metavar="FILE", help="write the numbers to this file as well")
    return bench


def _add_node(benches: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    bench = _add(benches, name, text, description)
    bench.add_argument("--rounds", type=int, metavar="N", help=f"default: {NODE_ROUNDS}, quick {QUICK_NODE_ROUNDS}")
    bench.add_argument(
        "--seconds", type=float, metavar="S", help=f"of each run (default: {NODE_SECONDS:g}, quick {QUICK_NODE_SECONDS:g})"
    )
    return bench


def run(args: argparse.Namespace) -> int:
    """Measure and print. Raises SentryFuseError."""
    if args.bench == "faults":
        return bench_faults.run(args)
    if getattr(args, "rounds", None) is not None and args.rounds < 1:
        raise ParameterError("--rounds", args.rounds, "1 or more")
    if args.json:
        check_writable(Path(args.json))
    benches = {"latency": _latency, "node": _node, "memory": _memory, "receive": _receive, "streaming": _streaming}
    table, values = benches[args.bench](args)
    if args.json:  # first, because a console may be gone or full by now
        write_atomically(args.json, json.dumps(values, indent=1) + "\n")
    if getattr(args, "page", None):
        bench_streaming.write_page(args, values)
    print(table)
    return 0


def _latency(args: argparse.Namespace) -> tuple[str, Mapping[str, Any]]:
    from ..evaluation.latency import measure_latency
    from ..reporting.latency_table import latency_table
    from ..runtime.engine import Engine
    from ..runtime.plan_costs import choose_by_time

    engine = Engine.load(model_path(args.model), args.device, args.threads)
    if args.budget == "time":
        try:
            choose_by_time(engine, args.threads)
        except ParameterError as error:
            print(f"note: a ratio is a share of FLOPs here: {error}", file=sys.stderr)
    rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)
    report = measure_latency(engine, rounds, args.threads, args.before)
    return latency_table(report), report.to_dict()


def _node(args: argparse.Namespace) -> tuple[str, Mapping[str, Any]]:
    from ..reporting.node_tables import node_table

    ratios = args.ratios or (QUICK_RATIOS if args.quick else RATIOS)
    for ratio in ratios:
        if not 0.0 <= ratio <= RATIO_LIMIT:
            raise ParameterError("--ratios", ratio, f"0 to {RATIO_LIMIT:g}")
    report = door.measure_nodes(_task(args), ratios, args.before, _say)
    return node_table(report), report.to_dict()


def _memory(args: argparse.Namespace) -> tuple[str, Mapping[str, Any]]:
    from ..reporting.node_tables import memory_table

    report = door.measure_memory(_task(args), _say)
    return memory_table(report), report.to_dict()


def _receive(args: argparse.Namespace) -> tuple[str, Mapping[str, Any]]:
    from ..reporting.node_tables import receive_table

    report = door.measure_receiving(_task(args), _say)
    return receive_table(report), report.to_dict()


def _streaming(args: argparse.Namespace) -> tuple[str, Mapping[str, Any]]:
    return bench_streaming.measure(args, _say)


def _task(args: argparse.Namespace) -> BenchTask:
    usual = QUICK_NODE_SECONDS if args.quick else NODE_SECONDS
    seconds = usual if args.seconds is None else args.seconds
    if not seconds > 0:
        raise ParameterError("--seconds", args.seconds, "a positive number")
    model_path(args.model)  # a wrong name is reported before anything starts
    return BenchTask(args.model, args.rounds or (QUICK_NODE_ROUNDS if args.quick else NODE_ROUNDS), seconds)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
