"""What happens around the sensors: late starts, restarts, every mask, load, a slow model. Each function gives a row of
`sentryfuse bench faults`: it gets a rig whose sensors are all live, and leaves it so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message

from ..bags.bag import Topic
from ..child_process import bound
from ..replay.fault_matrix import MatrixRow, Stage
from ..runtime.cpu_priority import starting_ordinary_processes
from . import fault_rows
from .fault_bench import READY_TIMEOUT_S
from .fault_rig import RELIABLE, Change, Rig, rig
from .fault_rows import Samples, Say, fault_row, pause_troubles, return_troubles, said_soon
from .hostile_scenarios import CLOUD, IMAGE, fuzz, hostile_message, hostile_messages
from .message_types import message_class


def _sensor_with(topics: Mapping[str, Topic], msg_type: str) -> str:
    """The first sensor whose messages have this type, or the last of all."""
    return next((name for name, topic in topics.items() if topic.msg_type == msg_type), list(topics)[-1])


def live_scenarios(
    stage: Stage,
    topics: Mapping[str, Topic],
    samples: Samples,
    model_inputs: Sequence[str],
    period_s: float,
    fuzzed: int,
    say: Say,
) -> list[MatrixRow]:
    """Late start, restarts, all masks, load, hostile messages. model_inputs: the sensors that serve the model."""
    with rig(stage, topics, samples, False, period_s) as made:
        say("late start")
        rows = [_late_start(made, _sensor_with(topics, CLOUD))]
        camera = next((name for name, topic in topics.items() if topic.msg_type == IMAGE), None)
        if camera is not None:
            for name, options in _restarts(samples[camera][0]).items():
                say(f"restart with {name}")
                rows.append(_restart(made, camera, name, **options))
        for live in _all_masks(model_inputs):
            say(f"only {', '.join(live) or 'nothing'}")
            rows.append(_mask(made, live, model_inputs))
        made.switch(list(topics))
        made.all_live(10.0)
        for name, scenario in {"starved CPU": _starved, "slow consumer": _slow_consumer}.items():
            say(name)
            rows.append(scenario(made, name))
        for sensor, raws in hostile_messages(topics, samples).items():
            say(f"hostile {sensor}")
            rows.append(hostile_message(made, sensor, raws))
        say(f"{fuzzed} mutated messages over DDS")
        rows.append(fuzz(made, samples, fuzzed))
    return rows


def _late_start(made: Rig, sensor: str) -> MatrixRow:
    """A driver that starts after the grace: NEVER_SEEN until then, never in the way of the others."""
    others = [name for name in made.feeds if name != sensor]
    made.switch(others)
    troubles = (
        [] if made.until(lambda: made.live() == set(others), 60.0) is not None else ["the other sensors did not become live"]
    )
    before = len(made.collector.predictions)
    made.wait(6.0)
    state = made.states().get(sensor)
    said = next((row.states[sensor].reason for row in reversed(made.collector.statuses)), "")
    if state != "NEVER_SEEN":
        troubles.append(f"{state} before its first message")
    made.switch(list(made.feeds))
    troubles += return_troubles(made)
    gap = made.gap_since(before)
    return fault_row(sensor, "late start", troubles + pause_troubles(gap), gap, said)


def _restarts(raw: bytes) -> dict[str, dict[str, Any]]:
    image_class = message_class(IMAGE)
    image = deserialize_message(raw, image_class)
    other = "bgr8" if image.encoding == "rgb8" else "rgb8"

    def halved(raw: bytes) -> bytes:
        message = deserialize_message(raw, image_class)
        pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        message.height, message.step = message.height // 2, message.step // 2
        message.width //= 2
        message.data = pixels[: message.height, : message.step].tobytes()
        return bytes(serialize_message(message))

    def named(raw: bytes, **values: str) -> bytes:
        message = deserialize_message(raw, image_class)
        message.encoding = values.get("encoding", message.encoding)
        message.header.frame_id = values.get("frame_id", message.header.frame_id)
        return bytes(serialize_message(message))

    changes: dict[str, Change] = {
        "another resolution": halved,
        "another encoding": partial(named, encoding=other),
        "another frame_id": partial(named, frame_id="another_frame"),
    }
    best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    restarts: dict[str, dict[str, Any]] = {
        "a third of the rate": {"every": 3},
        "best effort": {"qos": best_effort},
        "reliable": {},
    }
    return restarts | {name: {"change": change} for name, change in changes.items()}


def _restart(
    made: Rig, sensor: str, name: str, every: int = 1, qos: QoSProfile = RELIABLE, change: Change | None = None
) -> MatrixRow:
    before = len(made.collector.predictions)
    made.stop(sensor)
    troubles = (
        [] if made.until(lambda: sensor not in made.live(), fault_rows.NOTICED_S) is not None else ["its end was not noticed"]
    )
    made.restart(sensor, every, qos, change)
    troubles += return_troubles(made)
    returned = len(made.collector.statuses)
    made.wait(1.0)
    lost = {row.of(sensor).state for row in made.collector.statuses[returned:]} - {"OK"}
    if lost and not troubles:
        troubles.append(f"lost again: {', '.join(sorted(lost))}")
    gap = made.gap_since(before)
    return fault_row(sensor, f"restarted, {name}", troubles + pause_troubles(gap), gap)


def _all_masks(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every subset, each of which differs from the one before by one sensor (Gray code)."""
    for index in range(1, 2 ** len(names)):
        bits = index ^ (index >> 1)
        yield tuple(name for position, name in enumerate(names) if bits >> position & 1)


def _mask(made: Rig, live: Sequence[str], model_inputs: Sequence[str]) -> MatrixRow:
    others = [name for name in made.feeds if name not in model_inputs]
    before = len(made.collector.predictions)
    made.switch([*live, *others])
    took_s = made.until(lambda: made.live() & set(model_inputs) == set(live), fault_rows.BACK_S)
    troubles = [] if took_s is not None else [f"the mask was {', '.join(sorted(made.live())) or 'empty'}"]
    known = len(made.collector.predictions)
    made.until(lambda: len(made.collector.predictions) > known + 2, 2.0)
    last = made.collector.predictions[-1]
    if last.valid != bool(live) or sum(last.mask) != len(live):
        troubles.append(f"the prediction has {sum(last.mask)} sensors, expected {len(live)}")
    gap = made.gap_since(before)
    return fault_row("mask", " + ".join(live) or "none", troubles + pause_troubles(gap), gap, said=last.reason)


@contextmanager
def _process(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of ordinary priority, whatever this one has, which is killed in the end.

    Without the shared memory of Fast DDS: killed at a bad moment, it would leave a lock there for which later nodes wait.
    """
    profiles = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
    environment = {name: value for name, value in os.environ.items() if name not in profiles}
    environment["FASTDDS_BUILTIN_TRANSPORTS"] = "UDPv4"
    with starting_ordinary_processes():
        process = subprocess.Popen(bound([sys.executable, "-c", code]), stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _starved(made: Rig, name: str) -> MatrixRow:
    count = os.cpu_count() or 1
    with ExitStack() as loops:
        for _ in range(count):
            loops.enter_context(_process("while True: pass"))
        before = len(made.collector.predictions)
        made.wait(2 * fault_rows.WATCH_S)
        gap = made.gap_since(before)
    return fault_row("load", name, pause_troubles(gap) + return_troubles(made, 10.0), gap, f"{count} busy loops")


def _slow_consumer(made: Rig, name: str) -> MatrixRow:
    """A subscriber that listens reliably and is then stopped, so that it confirms nothing any more."""
    code = """
import rclpy
from sentryfuse_ros.msg import FusedPrediction, ModalityMask
rclpy.init()
node = rclpy.create_node("slow_consumer")
node.create_subscription(ModalityMask, "/fuse_node/mask", lambda m: None, 10)
node.create_subscription(FusedPrediction, "/fuse_node/prediction", lambda m: print("heard", flush=True), 10)
rclpy.spin(node)
"""
    with _process(code) as consumer:
        assert consumer.stdout is not None
        heard = consumer.stdout.readline().strip()
        consumer.send_signal(signal.SIGSTOP)
        before = len(made.collector.predictions)
        made.wait(2 * fault_rows.WATCH_S)
        gap = made.gap_since(before)
    troubles = [] if heard == "heard" else ["the consumer never heard a prediction"]
    return fault_row("load", name, troubles + pause_troubles(gap) + return_troubles(made), gap)


def slow_inference(stage: Stage, topics: Mapping[str, Topic], samples: Samples, period_s: float, say: Say) -> MatrixRow:
    """An inference takes longer than a fuse period: the newest snapshot wins, nothing queues up, and diagnostics say so."""
    say("slow inference")
    with rig(stage, topics, samples, False, period_s) as made:
        troubles = return_troubles(made, READY_TIMEOUT_S)
        begin, before = len(made.diagnostics), len(made.collector.predictions)
        made.wait(2 * fault_rows.WATCH_S)
        said = said_soon(made, begin, "an inference takes longer than a period")
        taken = made.collector.predictions[before:]
        slowest_s = max((row.inference_ms for row in taken), default=0.0) * 1e-3
        gap = made.gap_since(before + 1, max(period_s, slowest_s))
        if not said:
            troubles.append(f"of the inference diagnostics said only: {made.said_since(begin, 'loop', '')}")
        waited_s = max((row.overhead_ms for row in taken), default=0.0) * 1e-3
        if waited_s > slowest_s + 2 * period_s:
            troubles.append(f"a snapshot waited for {waited_s:.2f} s")
    return fault_row("load", "slow inference", troubles + pause_troubles(gap), gap, said)
