"""One recording to labelled windows, by the code the robot runs: decoders, liveness, buffers, the same cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..bags.bag import Bag, match_sensors
from ..bags.labels import Labels, typestore
from ..errors import BagError
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec, empty_input
from ..sensing.model_inputs import extract_inputs, slots_of
from ..sensing.sensor import Sensor
from ..settings import SensorSettings

# Why a moment gave no window.
FILLING = "before the first full window"
CHANGES = "the label changes inside the window"
NO_LABEL = "no label there"
IGNORED = "label ignored"
NOTHING_LIVE = "no live sensor"
JUMP = "before a jump of the recording's clock"
JUMP_NS = 600 * NS_PER_S  # a longer silence is not walked through: a clock that was set, as from 1970 to today


@dataclass
class BagWindows:
    """Windows of one bag, n of them: inputs (n, *shape), label names, end [ns], live sensors (n, M); and what was left out."""

    inputs: dict[str, np.ndarray]
    labels: list[str]
    end_ns: np.ndarray
    present: np.ndarray
    skipped: Counter = field(default_factory=Counter)  # reason -> moments
    topics: dict[str, str] = field(default_factory=dict)  # sensor -> topic
    unused: dict[str, str] = field(default_factory=dict)  # topic -> type
    faults: dict[str, str] = field(default_factory=dict)  # sensor -> how many messages were refused, and why the last


def cut_bag(
    bag: Bag,
    specs: Sequence[ModalitySpec],
    sensors: Sequence[SensorSettings],
    labels: Labels,
    stride_s: float,
    ignore: Sequence[str] = (),
) -> BagWindows:
    """Every ``stride_s`` the windows that the robot would have had then; one label must hold over the longest of them.

    Sensors without a topic in the bag stay absent. Raises BagError where the bag has no topic for any of the specs.
    """
    wanted = [s for s in sensors if s.model_input in {spec.name for spec in specs}]
    matched = match_sensors(bag, wanted, {})
    if not matched:
        raise BagError(
            f"bag {bag.path}",
            "topics " + ", ".join(f"{t.name} ({t.msg_type})" for t in bag.topics.values()),
            "a topic for one of " + ", ".join(f"{s.name} ({s.kind}, {s.topic})" for s in wanted),
            "set the topics in --params, or leave this bag out",
        )
    made = {
        s.name: Sensor(typed(s, matched[s.name].msg_type), specs, reader(bag, matched[s.name].name))
        for s in wanted
        if s.name in matched
    }
    out = BagWindows(
        {},
        [],
        np.empty(0, np.int64),
        np.empty((0, len(specs)), bool),
        topics={n: t.name for n, t in matched.items()},
        unused={t.name: t.msg_type for t in bag.topics.values() if t.name not in {m.name for m in matched.values()}},
    )
    collected = _collect(bag, made, specs, labels, stride_s, set(ignore), out)
    out.inputs = {spec.name: np.array([c[spec.name] for c in collected], np.float32).reshape(-1, *spec.shape) for spec in specs}
    return out


def _collect(
    bag: Bag,
    sensors: dict[str, Sensor],
    specs: Sequence[ModalitySpec],
    labels: Labels,
    stride_s: float,
    ignore: set[str],
    out: BagWindows,
) -> list[dict[str, np.ndarray]]:
    slots = slots_of(sensors.values(), [spec.name for spec in specs])
    blank = {spec.name: empty_input(spec) for spec in specs}
    window_ns = round(max(spec.window_s for spec in specs) * NS_PER_S)
    sensor_of = {topic: name for name, topic in out.topics.items()}
    waiting: dict[str, tuple[list[bytes], list[int]]] = {name: ([], []) for name in sensors}
    collected, ends, present = [], [], []
    stride_ns = round(stride_s * NS_PER_S)
    due_ns = bag.start_ns + stride_ns

    def deliver(now_ns: int) -> None:
        for name, (messages, times) in waiting.items():
            if messages:
                sensors[name].feed(messages, np.array(times, np.int64), now_ns, now_ns)
                messages.clear()
                times.clear()

    def look(now_ns: int) -> None:
        deliver(now_ns)
        cut = extract_inputs(slots, specs, {s.name: s.check(now_ns, now_ns) for s in sensors.values()}, now_ns)
        end_ns = cut.snapshot.end_ns
        label = labels.over(end_ns - window_ns, end_ns)
        if not cut.inputs:
            reason = NOTHING_LIVE
        elif end_ns - window_ns < bag.start_ns - window_ns // 20:  # a few samples short are no matter
            reason = FILLING
        elif label is None:
            reason = NO_LABEL
        elif label == "":
            reason = CHANGES
        elif label in ignore:
            reason = IGNORED
        else:
            collected.append({**blank, **cut.inputs})
            out.labels.append(label)
            ends.append(end_ns)
            present.append(cut.snapshot.mask.copy())
            return
        out.skipped[reason] += 1

    for topic, time_ns, raw in bag.messages(list(sensor_of)):
        if time_ns - due_ns > JUMP_NS:
            look(due_ns)
            out.skipped[JUMP] += 1
            due_ns = time_ns + stride_ns
        while time_ns > due_ns:
            look(due_ns)
            due_ns += stride_ns
        messages, times = waiting[sensor_of[topic]]
        messages.append(raw)
        times.append(time_ns)
    for name, sensor in sensors.items():
        if sensor.status is not None and sensor.status.invalid:
            out.faults[name] = f"{sensor.status.invalid} of {sensor.status.received} messages refused: {sensor.error}"
    out.end_ns = np.array(ends, np.int64)
    out.present = np.array(present, bool).reshape(-1, len(specs))
    return collected


def typed(sensor: SensorSettings, msg_type: str) -> SensorSettings:
    """The sensor with the type that its topic has in this bag."""
    return replace(sensor, msg_type=msg_type)


def reader(bag: Bag, topic: str):
    """Deserialiser for messages that the decoders do not read in place (other encodings)."""
    connection = next(c for c in bag.connections if c.topic == topic)
    store = None

    def deserialize(raw: bytes):
        nonlocal store
        store = store or typestore(connection)
        return store.deserialize_cdr(raw, connection.msgtype)

    return deserialize
