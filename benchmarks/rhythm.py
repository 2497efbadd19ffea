"""The rhythm of fuse_node on a busy machine: pauses between predictions at the reference load, beside busy loops on every core.

    python benchmarks/rhythm.py [--seconds 1200] [--busy 2] [--cpu-priority ordinary] [--json benchmarks/results/rhythm.json]

A pause is measured between the times at which the node handed two predictions to the middleware, so that a watcher which has to
wait for a core itself does not lengthen it. Exit status 1 if one was longer than two fuse periods.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor

from sentryfuse_ros.evaluation.reference_load import FUSE_RATE_HZ, Stream, describe, sensor_parameters, streams_for
from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.msg import FusedPrediction
from sentryfuse_ros.nodes.node_process import NodeProcess, cpu_s, transport_environment
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.replay.ros_domain import free_domain

LIMIT_PERIODS = 2.0
WARM_UP_S = 5.0
START_LIMIT_S = 60.0
QUEUE_DEPTH = 1000


class Watcher:
    """Keeps when each prediction was published, and how long it took besides inference."""

    def __init__(self, node: Any):
        self.published_s: list[float] = []
        self.overhead_ms: list[float] = []
        node.create_subscription(FusedPrediction, "/fuse_node/prediction", self._keep, QUEUE_DEPTH)

    def _keep(self, message: FusedPrediction, info: dict[str, int]) -> None:
        self.published_s.append(info["source_timestamp"] * 1e-9)
        self.overhead_ms.append(message.overhead_ms)


def pauses(published_s: list[float], overhead_ms: list[float], period_s: float) -> dict[str, Any]:
    """Pauses in fuse periods, and the overhead [ms]: 99th percentile and worst."""
    steps = np.diff(published_s) / period_s
    overhead = np.array([value for value in overhead_ms if math.isfinite(value)])
    return {
        "predictions": len(published_s),
        "pauses_over_limit": int((steps > LIMIT_PERIODS).sum()),
        "longest_pause_periods": round(float(steps.max()), 3),
        "pause_periods_p99": round(float(np.percentile(steps, 99)), 3),
        "overhead_ms_p50": round(float(np.percentile(overhead, 50)), 2) if len(overhead) else None,
        "overhead_ms_p99": round(float(np.percentile(overhead, 99)), 2) if len(overhead) else None,
        "overhead_ms_max": round(float(overhead.max()), 2) if len(overhead) else None,
    }


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes that never wait."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def load(streams: tuple[Stream, ...]) -> Iterator[None]:
    """The reference load, in a process of its own."""
    command = [sys.executable, "-m", "sentryfuse_ros.nodes.bench_load", json.dumps(streams), str(1e9)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _spin(executor: SingleThreadedExecutor, fuser: NodeProcess, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.2)
        fuser.check()


def measure(model: str, seconds: float, busy: int, priority: str, folder: Path) -> dict[str, Any]:
    """Run node and load for so long beside the busy loops."""
    streams = streams_for(read_checkpoint(model_path(model)).config.modalities)
    parameters = sensor_parameters(streams) | {"model": str(model_path(model).absolute()), "pruning_ratio_override": 0.0}
    parameters["cpu_priority"] = priority
    (folder / "params.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    domain = free_domain()
    os.environ.update(transport_environment(domain.id))
    rclpy.init()
    watching = rclpy.create_node("rhythm_watcher", enable_rosout=False)
    watcher, executor = Watcher(watching), SingleThreadedExecutor()  # the events executor cannot pass times of publication
    executor.add_node(watching)
    environment = transport_environment(domain.id, large_messages=False)
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        environment.pop(name, None)  # for the load only
    try:
        with load(streams):
            arguments = ["--ros-args", "--params-file", str(folder / "params.yaml")]
            fuser = NodeProcess("fuse_node", arguments, environment, folder / "log")
            try:
                deadline_s = time.monotonic() + START_LIMIT_S
                while not watcher.published_s:
                    fuser.check()
                    if time.monotonic() > deadline_s:
                        raise SystemExit(f"no prediction in {START_LIMIT_S:g} s: {fuser.last_words()}")
                    executor.spin_once(timeout_sec=0.1)
                with busy_loops(busy):
                    _spin(executor, fuser, WARM_UP_S)
                    begin, used_s, begin_s = len(watcher.published_s), cpu_s(fuser.process.pid), time.monotonic()
                    _spin(executor, fuser, seconds)
                    used_percent = 100 * (cpu_s(fuser.process.pid) - used_s) / (time.monotonic() - begin_s)
                    end = len(watcher.published_s)
            finally:
                fuser.stop()
    finally:
        watching.destroy_node()
        rclpy.try_shutdown()
        domain.release()
    return {
        "summary": pauses(watcher.published_s[begin:end], watcher.overhead_ms[begin:end], 1.0 / FUSE_RATE_HZ),
        "cpu_percent": round(used_percent, 2),
        "seconds": seconds,
        "busy_loops": busy,
        "cpu_priority": priority,
        "model": model,
        "load": describe(streams),
        "machine": machine(1),
        "log": (folder / "log").read_text(errors="replace").splitlines()[:20],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1200.0, help="default: %(default)g")
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 1, help="busy loops (default: one for each core)")
    parser.add_argument("--cpu-priority", choices=("auto", "ordinary"), default="auto", help="of the node (default: %(default)s)")
    parser.add_argument("--model", default="ground_robot", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments.model, arguments.seconds, arguments.busy, arguments.cpu_priority, Path(folder))
    print(json.dumps(result["summary"] | {"cpu_percent": result["cpu_percent"]}))
    if arguments.json:
        write_atomically(arguments.json, json.dumps(result, indent=1) + "\n")
    return 1 if result["summary"]["pauses_over_limit"] else 0


if __name__ == "__main__":
    sys.exit(main())
