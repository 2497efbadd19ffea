"""CPU time, memory and start of the whole fuse_node on the reference load, over real DDS, by pruning ratio.

    .venv/bin/with-ros .venv/bin/python benchmarks/node.py [--ratios 0 0.9] [--rounds 3] [--seconds 15] [--json FILE]
        [--before PREFIX]

The load is that of benchmarks/receive.py, from a process of its own: Image 640x480 rgb8 at 30 Hz, PointCloud2 of 65 000 points at
10 Hz, Imu at 400 Hz, AudioChunk at 50 Hz. The node runs the model ground_robot ten times a second. The sides (one for each ratio,
and the same of another installation, named by its prefix as --before) take turns, each in a fresh process.
CPU is user + system time of the node over the measured seconds, in percent of one core; ratios carry over to another machine,
percentages do not. The start is the time from the launch of the process to its first prediction.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from receive import TOPICS

from sentryfuse_ros.machine import machine
from sentryfuse_ros.nodes.node_process import transport_environment
from sentryfuse_ros.paths import PACKAGE, executable_path

WARM_UP_S = 4.0
START_LIMIT_S = 60.0


class Side(NamedTuple):
    """One way to run the node: an installation (its prefix) and a pruning ratio."""

    label: str
    prefix: Path
    ratio: float


def process_cpu_s(pid: int) -> float:
    """User and system time of a process so far [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process [MB]."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def run_side(side: Side, seconds: float, env: dict[str, str]) -> dict[str, float]:
    """Start load and node, wait for the first prediction, and measure. Raises RuntimeError where the node does not come up."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from sentryfuse_ros.msg import FusedPrediction

    times: list[float] = []
    watcher = rclpy.create_node("bench_watcher")
    # Serialised: another version may have other fields. Nothing is read of it but that it came.
    watcher.create_subscription(FusedPrediction, "/fuse_node/prediction", lambda _: times.append(time.monotonic()), 10, raw=True)
    executor = SingleThreadedExecutor()
    executor.add_node(watcher)
    parameters = [f"-p {kind}.topic:={topic}" for kind, topic in TOPICS.items()]
    arguments = " ".join([*parameters, f"-p pruning_ratio_override:={side.ratio}"]).split()
    command = [str(side.prefix / "bin" / "python"), str(side.prefix / "lib" / PACKAGE / "fuse_node"), "--ros-args", *arguments]
    receive = str(Path(__file__).with_name("receive.py"))
    with tempfile.TemporaryFile() as log:
        load = subprocess.Popen([sys.executable, receive, "--side", "publish", "--seconds", "600"], env=env, stderr=log)
        time.sleep(1.0)
        # Each installation must find its own package and the libraries of its own messages.
        own = {name: value.replace(sys.prefix, str(side.prefix)) for name, value in env.items() if name != "PYTHONPATH"}
        begin = time.monotonic()
        node = subprocess.Popen(command, env=own, cwd=side.prefix, stdout=log, stderr=log)
        try:
            while not times:
                executor.spin_once(timeout_sec=0.05)
                if node.poll() is not None or time.monotonic() - begin > START_LIMIT_S:
                    log.seek(0)
                    raise RuntimeError(f"{side.label}: no prediction: {log.read().decode(errors='replace')[-2000:]}")
            first_s = times[0] - begin
            time.sleep(WARM_UP_S)
            cpu, at = process_cpu_s(node.pid), time.monotonic()
            time.sleep(seconds)
            cpu_percent = 100 * (process_cpu_s(node.pid) - cpu) / (time.monotonic() - at)
            return {"cpu_percent": cpu_percent, "resident_mb": resident_mb(node.pid), "first_prediction_s": first_s}
        finally:
            for process in (node, load):
                process.terminate()
                process.wait()
            executor.remove_node(watcher)
            watcher.destroy_node()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.0, 0.9])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--before", type=Path, metavar="PREFIX", help="another installation to compare with")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    import rclpy

    here = executable_path("fuse_node").parents[2]
    sides = [Side(f"r = {ratio:g}", here, ratio) for ratio in args.ratios]
    if args.before:
        sides += [Side(f"before, r = {ratio:g}", args.before.absolute(), ratio) for ratio in args.ratios]
    env = {**os.environ, **transport_environment(1 + os.getpid() % 100)}
    os.environ.update(env)
    rclpy.init()
    rows: dict[str, list[dict[str, float]]] = {side.label: [] for side in sides}
    for i in range(args.rounds):
        for side in sides:
            rows[side.label].append(run_side(side, args.seconds, env))
            found = rows[side.label][-1]
            print(
                f"round {i + 1}, {side.label}: {found['cpu_percent']:.1f} % of a core, {found['resident_mb']:.0f} MB, "
                f"first prediction after {found['first_prediction_s']:.2f} s",
                flush=True,
            )
    median = {label: {name: statistics.median(row[name] for row in found) for name in found[0]} for label, found in rows.items()}
    cpu = {label: found["cpu_percent"] for label, found in median.items()}
    first, last = sides[0].label, sides[len(args.ratios) - 1].label
    summary = {"cpu_r90_vs_r0": cpu[last] / cpu[first]}
    if args.before:
        summary["cpu_r0_vs_before"] = cpu[first] / cpu[f"before, {first}"]
    for name, value in summary.items():
        print(f"{name}: {value:.2f}")
    result: dict[str, Any] = {"machine": machine(1), "median": median, "summary": summary, "rounds": rows}
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
