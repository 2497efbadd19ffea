"""What happens around the sensors: clocks, load, restarts, every mask, late starts, hostile messages. One function per row of
`sentryfuse bench faults`; each gets a rig whose sensors are all live, leaves it so, and returns a row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message

from ..bags.bag import Topic
from ..replay.fault_matrix import GAP_PERIODS, MatrixRow, Stage
from ..replay.fuzzing import mutate
from .fault_bench import READY_TIMEOUT_S
from .fault_rig import RELIABLE, Change, Rig, rig
from .message_types import message_class

Samples = Mapping[str, Sequence[bytes]]
Say = Callable[[str], None]
Scenario = Callable[[Rig, str], MatrixRow]
BACK_S = 3.0  # a restarted driver is heard again within this: discovery, a new rate, three good messages
IMAGE, CLOUD, SOUND = "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2", "sentryfuse_ros/msg/AudioChunk"
NOTICED_S = 2.0  # the end of a driver is
SAID_S = 10.0  # what diagnostics have to say comes within this, after `WATCH_S`
WATCH_S = 3.0
FUZZ_HZ = 60.0


def _row(group: str, name: str, troubles: Sequence[str], gap: float | None = None, said: str = "", **values: Any) -> MatrixRow:
    return MatrixRow(name, group, not troubles, gap_periods=gap, said=said, trouble="; ".join(troubles), **values)


def _pause(gap: float | None, limit: float = GAP_PERIODS) -> list[str]:
    if gap is None:
        return ["no predictions"]
    return [f"a pause of {gap} periods between predictions"] if gap > limit else []


def _sensor_with(topics: Mapping[str, Topic], msg_type: str) -> str:
    """The first sensor whose messages have this type, or the last of all."""
    return next((name for name, topic in topics.items() if topic.msg_type == msg_type), list(topics)[-1])


def _not_back(made: Rig, limit_s: float = 0.0) -> list[str]:
    limit_s = max(limit_s, BACK_S)
    if made.all_live(limit_s) is not None:
        return []
    return [f"not back within {limit_s:g} s: {', '.join(f'{name} {state}' for name, state in made.states().items())}"]


def _said(made: Rig, index: int, words: str) -> str:
    """What diagnostics said of the loop in these words, from a row of theirs on, or say soon; "" if nothing."""
    made.until(lambda: bool(made.said_since(index, "loop", words)), SAID_S)
    return made.said_since(index, "loop", words)


def _fallen(made: Rig, index: int) -> list[str]:
    """The sensors that have not been OK all the time since a row of the statuses."""
    rows = made.collector.statuses[index:]
    fallen = {name: status for row in rows for name, status in row.states.items() if status.state != "OK"}
    return (
        [f"not OK: {', '.join(f'{name} {status.state} ({status.reason})' for name, status in fallen.items())}"] if fallen else []
    )


# --- the clock, under use_sim_time ---------------------------------------------------------------------------------


def clock_scenarios(stage: Stage, topics: Mapping[str, Topic], samples: Samples, period_s: float, say: Say) -> list[MatrixRow]:
    """Every way in which /clock may run."""
    rows = []
    with rig(stage, topics, samples, True, period_s) as made:
        made.clock_runs = False
        scenarios: dict[str, Scenario] = {
            "absent": _clock_absent,
            "paused": _clock_paused,
            "looped": partial(_clock_jumped, jump_s=-20.0, words="jumped back"),
            "jumped ahead": partial(_clock_jumped, jump_s=100.0),
            "at rate 0.1": partial(_clock_at, speed=0.1),
            "at rate 10": partial(_clock_at, speed=10.0),
        }
        for name, scenario in scenarios.items():
            say(f"/clock {name}")
            rows.append(scenario(made, name))
    return rows


def _clock_absent(made: Rig, name: str) -> MatrixRow:
    troubles = []
    active = made.until(lambda: made.collector.latest.info is not None, READY_TIMEOUT_S)
    begin, before = len(made.diagnostics), len(made.collector.predictions)
    made.wait(WATCH_S)
    said = _said(made, begin, "no /clock has come yet")
    if active is None or not said:
        troubles.append("diagnostics did not say that /clock is absent")
    if len(made.collector.predictions) > before:
        troubles.append("predictions at time 0")
    made.clock_runs = True
    return _row("/clock", name, troubles + _not_back(made, 10.0), said=said)


def _clock_paused(made: Rig, name: str) -> MatrixRow:
    begin, rows = len(made.diagnostics), len(made.collector.statuses)
    made.clock.bend(speed=0.0)
    made.wait(WATCH_S)
    said = _said(made, begin, "stands still")
    made.clock.bend(speed=1.0)
    resumed = len(made.collector.predictions)
    made.wait(1.5)
    troubles = _fallen(made, rows)
    if not said:
        troubles.append("diagnostics did not say that the clock stands still")
    gap = made.gap_since(resumed + 1)
    return _row("/clock", name, troubles + _pause(gap), gap, said)


def _clock_jumped(made: Rig, name: str, jump_s: float, words: str = "") -> MatrixRow:
    before, begin_log = len(made.collector.predictions), len(made.fuser.log_path.read_text(errors="replace"))
    made.clock.bend(jump_s=jump_s)
    made.wait(0.3)
    troubles = _not_back(made)
    said = next((line for line in made.fuser.log_path.read_text(errors="replace")[begin_log:].splitlines() if words in line), "")
    if words and not said:
        troubles.append("the log did not name the jump")
    gap = made.gap_since(before)
    return _row("/clock", name, troubles + _pause(gap), gap, said.rpartition("]: ")[2])


def _clock_at(made: Rig, name: str, speed: float) -> MatrixRow:
    """Slow simulated time must not look like dying sensors; of fast time that is too fast, diagnostics tell."""
    made.clock.bend(speed=speed)
    made.wait(1.0)
    rows, before, begin = len(made.collector.statuses), len(made.collector.predictions), len(made.diagnostics)
    begin_s = made.clock.now_s()
    made.wait(2 * WATCH_S)
    troubles, said = [], ""
    if speed < 1.0:
        troubles += _fallen(made, rows)
    count, expected = len(made.collector.predictions) - before, (made.clock.now_s() - begin_s) / made.fuse_period_s
    if count < 0.9 * expected - 1:  # one of them may come just before or just after
        said = _said(made, begin, "simulated time runs")
        if speed <= 1.0 or not said:
            troubles.append(f"{count} predictions where {expected:.0f} were due, and diagnostics did not say why")
    gap = made.gap_since(before + 1, made.fuse_period_s / min(speed, 1.0))
    made.clock.bend(speed=1.0)
    return _row("/clock", name, troubles + _pause(gap) + _not_back(made, 10.0), gap, said or f"{count} predictions")


# --- the robot's own time ------------------------------------------------------------------------------------------


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
        for sensor, raws in _hostile(topics, samples).items():
            say(f"hostile {sensor}")
            rows.append(_hostile_message(made, sensor, raws))
        say(f"{fuzzed} mutated messages over DDS")
        rows.append(_fuzz(made, samples, fuzzed))
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
    troubles += _not_back(made)
    gap = made.gap_since(before)
    return _row(sensor, "late start", troubles + _pause(gap), gap, said)


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
    troubles = [] if made.until(lambda: sensor not in made.live(), NOTICED_S) is not None else ["its end was not noticed"]
    made.restart(sensor, every, qos, change)
    troubles += _not_back(made)
    returned = len(made.collector.statuses)
    made.wait(1.0)
    lost = {row.of(sensor).state for row in made.collector.statuses[returned:]} - {"OK"}
    if lost and not troubles:
        troubles.append(f"lost again: {', '.join(sorted(lost))}")
    gap = made.gap_since(before)
    return _row(sensor, f"restarted, {name}", troubles + _pause(gap), gap)


def _all_masks(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every subset, each of which differs from the one before by one sensor (Gray code)."""
    for index in range(1, 2 ** len(names)):
        bits = index ^ (index >> 1)
        yield tuple(name for position, name in enumerate(names) if bits >> position & 1)


def _mask(made: Rig, live: Sequence[str], model_inputs: Sequence[str]) -> MatrixRow:
    others = [name for name in made.feeds if name not in model_inputs]
    before = len(made.collector.predictions)
    made.switch([*live, *others])
    took_s = made.until(lambda: made.live() & set(model_inputs) == set(live), BACK_S)
    troubles = [] if took_s is not None else [f"the mask was {', '.join(sorted(made.live())) or 'empty'}"]
    known = len(made.collector.predictions)
    made.until(lambda: len(made.collector.predictions) > known + 2, 2.0)
    last = made.collector.predictions[-1]
    if last.valid != bool(live) or sum(last.mask) != len(live):
        troubles.append(f"the prediction has {sum(last.mask)} sensors, expected {len(live)}")
    gap = made.gap_since(before)
    return _row("mask", " + ".join(live) or "none", troubles + _pause(gap), gap, said=last.reason)


@contextmanager
def _process(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of ordinary priority, whatever this one has, which is killed in the end.

    Without the shared memory of Fast DDS: killed at a bad moment, it would leave a lock there for which later nodes wait.
    """
    ordinary = "import os; os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))\n"
    profiles = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
    environment = {name: value for name, value in os.environ.items() if name not in profiles}
    environment["FASTDDS_BUILTIN_TRANSPORTS"] = "UDPv4"
    process = subprocess.Popen([sys.executable, "-c", ordinary + code], stdout=subprocess.PIPE, text=True, env=environment)
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
        made.wait(2 * WATCH_S)
        gap = made.gap_since(before)
    return _row("load", name, _pause(gap) + _not_back(made, 10.0), gap, f"{count} busy loops")


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
        made.wait(2 * WATCH_S)
        gap = made.gap_since(before)
    troubles = [] if heard == "heard" else ["the consumer never heard a prediction"]
    return _row("load", name, troubles + _pause(gap) + _not_back(made), gap)


def _hostile(topics: Mapping[str, Topic], samples: Samples) -> dict[str, list[bytes]]:
    """By sensor, messages that are as large, as many or as long as messages may be."""
    out = {}
    for sensor, raws in samples.items():
        msg_type = topics[sensor].msg_type
        if msg_type not in (IMAGE, CLOUD, SOUND):  # small ones can only be many
            out[sensor] = [raws[index % len(raws)] for index in range(1500)]
            continue
        message = deserialize_message(raws[0], message_class(msg_type))
        if msg_type == SOUND:
            message.samples = np.random.default_rng(0).integers(-3000, 3000, 1_000_000).astype(np.int16)
        else:
            row = bytes(message.data)[: message.row_step if msg_type == CLOUD else message.step]
            times = 1 + 12_000_000 // len(row)
            message.height, message.data = (times, row * times) if msg_type == IMAGE else (1, row * times)
            if msg_type == CLOUD:
                message.width = len(row) * times // message.point_step
                message.row_step = message.width * message.point_step
        out[sensor] = [bytes(serialize_message(message))]
    return out


def _hostile_message(made: Rig, sensor: str, raws: Sequence[bytes]) -> MatrixRow:
    before = len(made.collector.predictions)
    for raw in raws:
        made.send(sensor, raw)
    made.wait(1.5)
    gap = made.gap_since(before)
    size = f"{len(raws)} messages at once" if len(raws) > 1 else f"one message of {len(raws[0]) / 1e6:.0f} MB"
    return _row(sensor, "hostile", _pause(gap) + _not_back(made, 10.0), gap, size)


def _fuzz(made: Rig, samples: Samples, count: int) -> MatrixRow:
    """Mutated messages among the sound ones of every sensor."""
    random, names = np.random.default_rng(0), list(samples)
    everything = [raw for raws in samples.values() for raw in raws]
    before = len(made.collector.predictions)
    begin_s = time.monotonic()
    for index in range(count):
        raws = samples[names[index % len(names)]]
        made.send(names[index % len(names)], mutate(raws[int(random.integers(len(raws)))], random, everything))
        made.wait(max(0.0, begin_s + index / (FUZZ_HZ * len(names)) - time.monotonic()))
    gap = made.gap_since(before)
    failed = made.said_since(0, "loop", "errors so far")
    return _row("all", f"fuzzed, {count} messages", _pause(gap) + _not_back(made, 10.0) + ([failed] if failed else []), gap)


# --- a model that is too slow ----------------------------------------------------------------------------------------


def slow_inference(stage: Stage, topics: Mapping[str, Topic], samples: Samples, period_s: float, say: Say) -> MatrixRow:
    """An inference takes longer than a fuse period: the newest snapshot wins, nothing queues up, and diagnostics say so."""
    say("slow inference")
    with rig(stage, topics, samples, False, period_s) as made:
        troubles = _not_back(made, READY_TIMEOUT_S)
        begin, before = len(made.diagnostics), len(made.collector.predictions)
        made.wait(2 * WATCH_S)
        said = _said(made, begin, "an inference takes longer than a period")
        taken = made.collector.predictions[before:]
        slowest_s = max((row.inference_ms for row in taken), default=0.0) * 1e-3
        gap = made.gap_since(before + 1, max(period_s, slowest_s))
        if not said:
            troubles.append(f"of the inference diagnostics said only: {made.said_since(begin, 'loop', '')}")
        waited_s = max((row.overhead_ms for row in taken), default=0.0) * 1e-3
        if waited_s > slowest_s + 2 * period_s:
            troubles.append(f"a snapshot waited for {waited_s:.2f} s")
    return _row("load", "slow inference", troubles + _pause(gap), gap, said)
