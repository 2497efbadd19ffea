"""What is delivered when: a bag's messages with the faults applied, as one stream in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..bags.bag import Bag, Topic
from .faults import FaultScript, Injector, stamp_of, stamped


@dataclass
class Delivery:
    """One message to publish at t_s after the recording's begin."""

    t_s: float
    topic: str
    raw: bytes


@dataclass
class Truth:
    """What was really delivered per sensor, for judging: times [s] of every message and which were sound."""

    delivered_s: dict[str, list[float]] = field(default_factory=dict)
    sound_s: dict[str, list[float]] = field(default_factory=dict)  # outside every fault of the sensor


def deliveries(
    bag: Bag,
    sensors: Mapping[str, Topic],
    extra: tuple[str, ...],
    script: FaultScript,
    repeat: int,
    gap_s: float,
    truth: Truth,
    to_s: float = float("inf"),
) -> Iterator[Delivery]:
    """All deliveries in order of time. The recording is played `repeat` times in a row, `gap_s` apart, stamps moved on."""
    sensor_of = {topic.name: name for name, topic in sensors.items()}

    def stamp_at(t_s: float) -> int:
        return bag.start_ns + int(t_s * 1e9)

    injectors = {
        name: Injector(tuple(f for f in script.faults if f.sensor == name), stamp_at, seed=index)
        for index, name in enumerate(sensors)
    }
    for name in sensors:
        truth.delivered_s[name], truth.sound_s[name] = [], []

    def flush(t_s: float) -> list[Delivery]:
        out = []
        for name, injector in injectors.items():
            for when, raw in injector.due(t_s):
                truth.delivered_s[name].append(when)
                if injector.fault_at(when) is None:
                    truth.sound_s[name].append(when)
                out.append(Delivery(when, sensors[name].name, raw))
        out.sort(key=lambda d: d.t_s)
        return out

    shift_s = 0.0
    t_s = 0.0
    for _ in range(repeat):
        for topic, time_ns, raw in bag.messages([*sensor_of, *extra]):
            t_s = (time_ns - bag.start_ns) * 1e-9 + shift_s
            if t_s > to_s:
                yield from flush(to_s)
                return
            if shift_s and stamp_of(raw):
                raw = stamped(raw, stamp_of(raw) + int(shift_s * 1e9))
            yield from flush(t_s - 1e-9)
            name = sensor_of.get(topic)
            if name is None:
                yield Delivery(t_s, topic, raw)
            else:
                injectors[name].feed(t_s, raw)
        shift_s += bag.duration_s + gap_s
    last_fault_s = max((f.to_s for f in script.faults if f.kind in ("freeze", "delay")), default=0.0)
    yield from flush(max(t_s, min(last_fault_s, t_s + 5.0, to_s)))
