"""Whole nodes under the reference load: each in a fresh process, sides in turns, over real DDS (`sentryfuse bench`)."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message

from .. import __version__
from ..child_process import bound
from ..errors import ParameterError, SentryFuseError
from ..evaluation.node_cost import BenchTask, LoopCost, MemoryReport, NodeReport, NodeRun, NodeSide, ReceiveReport, ReceiveRun
from ..evaluation.other_installation import environment_of_other, interpreter_of, start_script_of
from ..evaluation.other_loop import measure_other_loop
from ..evaluation.plan_memory import PlanMemory, plan_memory, private_mb, resident_mb
from ..evaluation.reference_load import Stream, describe, sensor_parameters, streams_for
from ..machine import machine
from ..model.checkpoint import read_checkpoint
from ..msg import FusedPrediction
from ..paths import executable_path, model_path
from ..replay.ros_domain import free_domain
from ..runtime.fastest_engine import load_fastest
from ..runtime.plan_costs import choose_by_time
from ..runtime.recent_times import RecentTimes
from .bench_loop import TICKS, WARM_UP_TICKS, serialised_payloads
from .node_process import cpu_s, transport_environment
from .ros_start import start_ros

WARM_UP_S = 4.0  # until states, queues and buffers are as they stay
START_LIMIT_S = 60.0
RECEIVE_SIDES = ("ordinary", "watched", "decoded")
Say = Callable[[str], None]


class _Side(NamedTuple):
    """One way to run the node: a pruning ratio, and the prefix of another installation, None for this one."""

    label: str
    ratio: float
    prefix: Path | None = None


def measure_nodes(task: BenchTask, ratios: Sequence[float], before: Path | None, say: Say) -> NodeReport:
    """Run the node at every ratio, and with ``before``, the prefix of another installation, also from there.

    ``say`` gets a line for each run. Raises SentryFuseError where a node gives no prediction.
    """
    sides = [_Side(f"r = {ratio:g}", ratio) for ratio in ratios]
    if before is not None:
        start_script_of(before, "fuse_node")  # a wrong prefix is reported before anything starts
        sides += [_Side(f"before, r = {ratio:g}", ratio, before.absolute()) for ratio in ratios]
    streams = _streams(task.model)
    keep_times(task.model)
    runs: dict[str, list[NodeRun]] = {side.label: [] for side in sides}
    loops = []
    with _own_domain():
        for i in range(task.rounds):
            for side in sides:
                run = _run_node(side, task, streams)
                runs[side.label].append(run)
                say(f"round {i + 1}, {side.label}: {_in_words(run)}")
            for ratio in ratios:
                for prefix in (None, before) if before is not None else (None,):
                    loops.append(_run_loop(task.model, ratio, streams, prefix))
                    say(f"round {i + 1}, {'loop before' if prefix else 'loop'} at r = {ratio:g}: {_loop_in_words(loops[-1])}")
    found = tuple(NodeSide(side.label, side.ratio, side.prefix is not None, tuple(runs[side.label])) for side in sides)
    return NodeReport(task.model, __version__, machine(1), describe(streams), task.seconds, found, tuple(loops))


def measure_memory(task: BenchTask, say: Say) -> MemoryReport:
    """Run the node at ratio 0, and the engine with its plan of ratio 0 and of 0.5. Raises SentryFuseError."""
    streams = _streams(task.model)
    side = _Side("r = 0", 0.0)
    keep_times(task.model)
    plans: dict[str, list[PlanMemory]] = {"0": [], "0.5": []}
    runs = []
    with _own_domain():
        for i in range(task.rounds):
            for ratio, found in plans.items():
                found.append(plan_memory(task.model, float(ratio)))
            runs.append(_run_node(side, task, streams))
            whole_mb, half_mb = (found[-1].plan_mb for found in plans.values())
            say(f"round {i + 1}: {_in_words(runs[-1])}; plans {whole_mb:.1f} and {half_mb:.1f} MB")
    return MemoryReport(
        task.model,
        __version__,
        machine(1),
        describe(streams),
        tuple(runs),
        tuple(of.model_mb for found in plans.values() for of in found),
        {ratio: tuple(of.plan_mb for of in found) for ratio, found in plans.items()},
        bool(read_checkpoint(model_path(task.model)).info.get("streaming")),
    )


def measure_receiving(task: BenchTask, say: Say) -> ReceiveReport:
    """Run the receive path and an ordinary node, and whole nodes for their overhead. Raises SentryFuseError."""
    streams = _streams(task.model)
    runs: dict[str, list[ReceiveRun]] = {side: [] for side in RECEIVE_SIDES}
    overheads = []
    node = _Side("r = 0", 0.0)
    with _own_domain():
        for i in range(task.rounds):
            for side in RECEIVE_SIDES:
                run = _run_receiver(side, task, streams)
                runs[side].append(run)
                rates = ", ".join(f"{name} {hz:.0f} Hz" for name, hz in run.received_hz.items())
                say(f"round {i + 1}, {side}: {run.cpu_percent:.1f} % of a core, {run.lost} lost, {rates}")
            overhead_ms = _run_node(node, task, streams).overhead_ms_p99
            if overhead_ms is None:
                raise SentryFuseError("fuse_node", "no valid prediction", "one from the load", "see sentryfuse doctor")
            overheads.append(overhead_ms)
            say(f"round {i + 1}, whole node: overhead p99 {overheads[-1]:.1f} ms")
    sides = {side: tuple(values) for side, values in runs.items()}
    return ReceiveReport(task.model, __version__, machine(1), describe(streams), task.seconds, sides, tuple(overheads))


def keep_times(model: str) -> None:
    """Measure what the first start with a model on a machine measures, backends and plans, so that no start is timed with it."""
    engine = load_fastest(model_path(model), say=lambda text: None)
    with suppress(ParameterError):  # a ratio is a share of FLOPs then
        choose_by_time(engine, 1)


def _streams(model: str) -> tuple[Stream, ...]:
    streams = streams_for(read_checkpoint(model_path(model)).config.modalities)
    if not streams:
        raise SentryFuseError(f"model {model}", "no input that a robot can receive", "a camera, LiDAR, IMU or microphone")
    return streams


@contextmanager
def _own_domain() -> Iterator[None]:
    """A ROS domain of this process and those that it starts."""
    domain = free_domain()
    os.environ.update(transport_environment(domain.id))
    start_ros()
    try:
        yield
    finally:
        rclpy.try_shutdown()
        domain.release()


@contextmanager
def _load(streams: Sequence[Stream], seconds: float) -> Iterator[None]:
    command = [sys.executable, "-m", "sentryfuse_ros.nodes.bench_load", json.dumps(streams), str(seconds)]
    process = subprocess.Popen(bound(command), stderr=subprocess.DEVNULL)
    try:
        time.sleep(1.0)  # it has made its messages and publishers
        yield
    finally:
        process.terminate()
        process.wait()


def _run_receiver(side: str, task: BenchTask, streams: Sequence[Stream]) -> ReceiveRun:
    command = [
        sys.executable,
        "-m",
        "sentryfuse_ros.nodes.bench_receiver",
        side,
        json.dumps(streams),
        str(task.seconds),
        task.model,
    ]
    with _load(streams, task.seconds + START_LIMIT_S):
        done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SentryFuseError(f"receiver {side}", done.stderr.strip()[-500:], "it to receive", "see sentryfuse doctor")
    return ReceiveRun(**json.loads(done.stdout.strip().split("\n")[-1]))


def _run_loop(model: str, ratio: float, streams: Sequence[Stream], before: Path | None) -> LoopCost:
    """``before``: the prefix of another installation, whose loop is run."""
    if before is not None:
        payloads = serialised_payloads(streams)
        return measure_other_loop(before.absolute(), model, streams, payloads, ratio, TICKS, WARM_UP_TICKS)
    command = [sys.executable, "-m", "sentryfuse_ros.nodes.bench_loop", model, json.dumps(streams), str(ratio)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SentryFuseError("loop without middleware", done.stderr.strip()[-500:], "it to run", "see sentryfuse doctor")
    return LoopCost(**json.loads(done.stdout.strip().split("\n")[-1]))


def _run_node(side: _Side, task: BenchTask, streams: Sequence[Stream]) -> NodeRun:
    """Start load and node, wait for the first prediction, and measure."""
    predictions: list[tuple[float, bytes]] = []

    def keep(raw: Any) -> None:
        predictions.append((time.monotonic(), raw))

    watcher = rclpy.create_node("bench_watcher")
    # Serialised, because another version may have other fields.
    watcher.create_subscription(FusedPrediction, "/fuse_node/prediction", keep, 100, raw=True)
    executor = SingleThreadedExecutor()
    executor.add_node(watcher)
    environment = transport_environment(None, large_messages=side.prefix is not None)
    if side.prefix is None:
        for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
            environment.pop(name, None)  # this process set it, for the load
        interpreter, script = sys.executable, executable_path("fuse_node")
    else:
        # Each installation must find its own package and the libraries of its own messages.
        environment = environment_of_other(environment)
        if sys.prefix != sys.base_prefix:  # not /usr, where the libraries of the system are
            environment = {name: value.replace(sys.prefix, str(side.prefix)) for name, value in environment.items()}
        interpreter, script = str(interpreter_of(side.prefix)), start_script_of(side.prefix, "fuse_node")
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w+b") as log, _load(streams, 3600.0):
        file = Path(folder, "params.yaml")
        # Another installation has a model of the same name that it can read.
        model = task.model if side.prefix is not None else str(model_path(task.model).absolute())
        parameters = sensor_parameters(streams) | {"model": model, "pruning_ratio_override": side.ratio}
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        begin = time.monotonic()
        node = subprocess.Popen(
            bound([interpreter, str(script), "--ros-args", "--params-file", str(file)]),
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )

        def check() -> None:
            if node.poll() is not None or (not predictions and time.monotonic() - begin > START_LIMIT_S):
                log.seek(0)
                said = log.read().decode(errors="replace").strip()[-500:]
                raise SentryFuseError(
                    f"fuse_node, {side.label}", f"no prediction: {said}", "predictions", "see sentryfuse doctor"
                )

        def spin_until(done: Callable[[], bool]) -> None:
            while not done():
                executor.spin_once(timeout_sec=0.05)
                check()

        try:
            spin_until(lambda: bool(predictions))
            first_s = predictions[0][0] - begin
            warm_s = time.monotonic() + WARM_UP_S
            spin_until(lambda: time.monotonic() >= warm_s)
            predictions.clear()
            cpu, start_s = cpu_s(node.pid), time.monotonic()
            spin_until(lambda: time.monotonic() >= start_s + task.seconds)
            cpu_percent = 100 * (cpu_s(node.pid) - cpu) / (time.monotonic() - start_s)
            overheads = RecentTimes() if side.prefix is not None else _overheads(predictions)
            return NodeRun(
                cpu_percent=cpu_percent,
                resident_mb=resident_mb(node.pid),
                private_mb=private_mb(node.pid),
                first_prediction_s=first_s,
                overhead_ms_p50=_known(overheads.percentile(50)),
                overhead_ms_p99=_known(overheads.percentile(99)),
            )
        finally:
            node.terminate()
            node.wait()
            executor.remove_node(watcher)
            watcher.destroy_node()


def _overheads(predictions: Sequence[tuple[float, bytes]]) -> RecentTimes:
    found = RecentTimes(len(predictions) or 1)
    for _, raw in predictions:
        message = deserialize_message(raw, FusedPrediction)
        if message.valid and math.isfinite(message.overhead_ms):
            found.add(message.overhead_ms)
    return found


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _loop_in_words(loop: LoopCost) -> str:
    trust = "" if loop.before else f", trust {loop.judge_ms:.2f} ms"
    return f"feed {loop.feed_ms:.2f} ms, tick {loop.tick_ms:.2f} ms{trust}"


def _in_words(run: NodeRun) -> str:
    cpu, memory = f"{run.cpu_percent:.1f} % of a core", f"{run.resident_mb:.0f} MB resident"
    return f"{cpu}, {memory}, first prediction after {run.first_prediction_s:.2f} s"
