"""Memory, threads and open files of fuse_node over many lifecycle cycles, and over a long run.

    python benchmarks/up_and_down.py [--cycles 1000] [--soak SECONDS] [--json benchmarks/results/up_and_down.json]

One cycle is configure, activate, predictions from a live IMU, deactivate, cleanup. Everything is judged after a tenth of the
cycles or of the soak, when caches and pools have what they keep. The soak begins when the node has moved its heap. Exit status 1
if the number of threads or of open files changed, or if memory grew by more than `GROWTH_LIMIT_MB`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Imu

from sentryfuse_ros.evaluation.plan_memory import resident_mb
from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.machine import machine
from sentryfuse_ros.msg import FusedPrediction
from sentryfuse_ros.nodes.fuse_loop import MOVER
from sentryfuse_ros.nodes.node_process import NodeProcess, transport_environment
from sentryfuse_ros.replay.ros_domain import free_domain
from sentryfuse_ros.runtime.named_thread import names_of_threads

MODEL = "utd_mhad_depth_imu"
IMU_HZ = 100.0
LIMIT_S = 60.0  # for one transition, or until the first prediction
GROWTH_LIMIT_MB = 10.0
SOAK_SAMPLE_S = 5.0
UP_AND_DOWN = (
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
)


@dataclass(frozen=True)
class Sample:
    """The node's process at one moment."""

    at: float  # cycles, or seconds of the soak
    resident_mb: float
    threads: int
    files: int

    @classmethod
    def take(cls, pid: int, at: float) -> Sample:
        threads, files = (len(os.listdir(f"/proc/{pid}/{what}")) for what in ("task", "fd"))
        return cls(at, round(resident_mb(pid), 2), threads, files)


class Driver:
    """A live IMU, and whoever asks the node for its transitions and counts its predictions."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("up_and_down", enable_rosout=False)
        self.predictions = 0
        self._random = np.random.default_rng(0)
        self._publisher = self.node.create_publisher(Imu, "/imu/data", 50)
        self._timer = self.node.create_timer(1.0 / IMU_HZ, self._publish)
        self._client = self.node.create_client(ChangeState, "/fuse_node/change_state")
        self.node.create_subscription(FusedPrediction, "/fuse_node/prediction", self._count, 10)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def _publish(self) -> None:
        message = Imu()
        message.header.stamp = self.node.get_clock().now().to_msg()
        for vector, values in zip(
            (message.angular_velocity, message.linear_acceleration), self._random.normal((0, 0, 5), 0.2, (2, 3))
        ):
            vector.x, vector.y, vector.z = map(float, values)
        self._publisher.publish(message)

    def _count(self, message: FusedPrediction) -> None:
        self.predictions += bool(message.valid)

    def until(self, condition: Callable[[], bool], what: str, fuser: NodeProcess) -> None:
        """Spin until it is true. Raises SystemExit if it takes too long, SentryFuseError if the node ends."""
        end_s = time.monotonic() + LIMIT_S
        while not condition():
            fuser.check()
            if time.monotonic() > end_s:
                raise SystemExit(f"no {what} in {LIMIT_S:g} s: {fuser.last_words()}")
            self.executor.spin_once(timeout_sec=0.05)

    def change(self, transition: int, fuser: NodeProcess) -> None:
        """Make a transition. Raises SystemExit if the node refuses it."""
        self.until(self._client.service_is_ready, "service", fuser)
        request = ChangeState.Request()
        request.transition.id = transition
        future = self._client.call_async(request)
        self.until(future.done, f"answer to transition {transition}", fuser)
        if not future.result().success:
            raise SystemExit(f"transition {transition} failed: {fuser.last_words()}")


def cycle(driver: Driver, fuser: NodeProcess) -> None:
    """One cycle, with three predictions while the node is active."""
    for transition in UP_AND_DOWN:
        driver.change(transition, fuser)
        if transition == Transition.TRANSITION_ACTIVATE:
            driver.predictions = 0
            driver.until(lambda: driver.predictions >= 3, "prediction", fuser)


def measure(cycles: int, soak_s: float, folder: Path, domain_id: int) -> dict[str, Any]:
    """Run the cycles, then the soak, on a ROS domain. Samples are taken in the unconfigured state, or every few seconds."""
    environment = transport_environment(domain_id)
    os.environ.update(environment)
    arguments = ["--ros-args", "-p", f"model:={MODEL}", "-p", "autostart:=false", "-p", "warm_up:=false"]
    fuser = NodeProcess("fuse_node", arguments, environment, folder / "up_and_down.log")
    rclpy.init()
    ups, soak = [], []
    try:
        driver, pid = Driver(), fuser.process.pid
        for done in range(cycles):
            cycle(driver, fuser)
            ups.append(Sample.take(pid, done + 1))
        if soak_s:
            for transition in UP_AND_DOWN[:2]:
                driver.change(transition, fuser)
            driver.until(lambda: MOVER not in names_of_threads(pid), "end of the moving of the heap", fuser)
            begin_s = next_s = time.monotonic()
            while time.monotonic() - begin_s < soak_s:
                driver.executor.spin_once(timeout_sec=0.05)
                fuser.check()
                if time.monotonic() >= next_s:
                    soak.append(Sample.take(pid, round(time.monotonic() - begin_s, 1)))
                    next_s += SOAK_SAMPLE_S
        driver.node.destroy_node()
    finally:
        rclpy.try_shutdown()
        status = fuser.stop()
    return {"exit_status": status, "cycles": judge(ups), "soak": judge(soak)}


def judge(samples: Sequence[Sample]) -> dict[str, Any]:
    """What changed after the first tenth; empty without samples. Growth is between the medians of the first and last quarter."""
    if not samples:
        return {}
    kept = samples[len(samples) // 10 :]
    quarter = max(1, len(kept) // 4)
    first, last = (float(np.median([s.resident_mb for s in part])) for part in (kept[:quarter], kept[-quarter:]))
    return {
        "count": len(samples),
        "until": samples[-1].at,
        "resident_mb": [samples[0].resident_mb, kept[0].resident_mb, samples[-1].resident_mb],
        "growth_mb": round(last - first, 2),
        "threads": sorted({s.threads for s in kept}),
        "files": sorted({s.files for s in kept}),
        "samples": [asdict(s) for s in samples[:: max(1, len(samples) // 50)]],
    }


def steady(part: dict[str, Any]) -> bool:
    """Whether nothing grew; true of what was not measured."""
    return not part or (part["growth_mb"] <= GROWTH_LIMIT_MB and len(part["threads"]) == len(part["files"]) == 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000, help="default: %(default)d")
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS", help="of an active node afterwards (default: none)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to this file")
    arguments = parser.parse_args()
    domain = free_domain()
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments.cycles, arguments.soak, Path(folder), domain.id)
    domain.release()
    result |= {"seconds": round(time.monotonic() - begin_s), "model": MODEL, "machine": machine(1)}
    print({name: {k: v for k, v in result[name].items() if k != "samples"} for name in ("cycles", "soak")})
    if arguments.json:
        write_atomically(arguments.json, json.dumps(result, indent=1) + "\n")
    return 0 if result["exit_status"] == 0 and steady(result["cycles"]) and steady(result["soak"]) else 1


if __name__ == "__main__":
    sys.exit(main())
