"""Model inputs of a sensor that lies, at the moments of the windows of a data set, by the code that runs on the robot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.preprocessing import ModalitySpec, model_input
from sentryfuse_ros.sensing.sensor import Sensor
from sentryfuse_ros.settings import SensorSettings

from .lie import Lie

STEP_S = 0.25  # between two looks at the topic


@dataclass
class LyingWindows:
    """inputs (n, *spec.shape) at n moments; zeros where the sensor was not OK. seen: (n,) bool, whether the decoder or liveness
    had noticed it by then. why: how often each reason was given."""

    inputs: np.ndarray
    seen: np.ndarray
    why: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Messages:
    """Messages of one topic of a bag in order: when they arrived [ns], and their bytes."""

    msg_type: str
    arrival_ns: np.ndarray
    raw: list[bytes]


def read_messages(bag_path: Path, topic: str) -> Messages:
    bag = Bag(bag_path)
    times, raw = [], []
    for _, time_ns, message in bag.messages([topic]):
        times.append(time_ns)
        raw.append(bytes(message))
    return Messages(bag.topics[topic].msg_type, np.array(times, np.int64), raw)


def lying_windows(
    messages: Messages, lie: Lie | None, seed: int, settings: SensorSettings, spec: ModalitySpec, end_ns: Sequence[int]
) -> LyingWindows:
    """What the sensor gives the model at the moments ``end_ns`` (n,), ascending, if it lies from the start (None: never)."""
    raw = messages.raw if lie is None else lie.change(messages.raw, np.random.default_rng(seed))
    sensor = Sensor(settings, [spec], None)
    found = LyingWindows(np.zeros((len(end_ns), *spec.shape), np.float32), np.ones(len(end_ns), bool))
    step_ns = round(STEP_S * NS_PER_S)
    at, now_ns = 0, int(messages.arrival_ns[0])
    for place, end in enumerate(end_ns):
        while now_ns < end:
            now_ns = min(now_ns + step_ns, int(end) + 1)
            stop = int(np.searchsorted(messages.arrival_ns, now_ns, "right"))
            if stop > at:
                sensor.feed(raw[at:stop], messages.arrival_ns[at:stop], now_ns, now_ns)
            at = stop
            status = sensor.check(now_ns, now_ns)
        if not status.live or sensor.buffer is None:
            found.why[status.reason[:160]] += 1
            continue
        stamps, rows = sensor.buffer.window(int(end))
        if len(stamps):
            found.inputs[place] = model_input(spec, stamps, rows, int(end))
            found.seen[place] = False
    return found
