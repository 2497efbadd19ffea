"""What is delivered when: the messages of a bag with the faults applied, as one stream in order of time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..bags.bag import Bag, Topic
from ..bags.header_stamps import stamp_of, stamped
from ..nanoseconds import NS_PER_S
from ..settings import SensorSettings
from .faults import FaultScript
from .injector import Injector

AFTER_END_S = 5.0  # a frozen or delayed sensor may deliver for this long after the recording's last message


@dataclass
class Delivery:
    """One message to publish at t_s after the start of the recording."""

    t_s: float
    topic: str
    raw: bytes


@dataclass
class DeliveryLog:
    """What was delivered, by sensor: the times [s] of all its messages, and of the sound ones.

    A message is sound if no fault touched it, and the fuser has no reason to refuse its stamp.
    """

    all_s: dict[str, list[float]] = field(default_factory=dict)
    sound_s: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """How a bag is played: which topics, with which faults, how often, up to when.

    sensors: sensor name -> topic; faults apply to these. other_topics are played as they are. The recording is played
    ``repeat`` times, ``gap_s`` apart, with the stamps shifted, and ends after ``to_s`` seconds at the latest. Times count from
    start_ns, that of the first message that is played. settings: of the sensors, by name.
    """

    sensors: Mapping[str, Topic]
    start_ns: int
    other_topics: tuple[str, ...] = ()
    script: FaultScript = FaultScript()
    repeat: int = 1
    gap_s: float = 1.0
    to_s: float = math.inf
    settings: Mapping[str, SensorSettings] = field(default_factory=dict)

    def duration_s(self, bag: Bag) -> float:
        """From the first message that is played to the end of the recording [s]."""
        return bag.duration_s - (self.start_ns - bag.start_ns) / NS_PER_S

    def period_s(self, bag: Bag) -> float:
        """From the start of one pass of the recording to the start of the next [s]."""
        return self.duration_s(bag) + self.gap_s

    def end_s(self, bag: Bag) -> float:
        """From the first message that is played to the last one of the last pass, or to ``to_s`` [s]."""
        return min((self.repeat - 1) * self.period_s(bag) + self.duration_s(bag), self.to_s)

    def is_believable(self, sensor: str, t_s: float, raw: bytes) -> bool:
        """Whether the fuser believes the stamp of a message that is delivered at t_s."""
        settings = self.settings.get(sensor)
        if settings is None or not settings.trust_stamps or not self.sensors[sensor].has_header:
            return True
        stamp_ns = stamp_of(raw)
        ahead_s = (stamp_ns - self.start_ns) / NS_PER_S - t_s
        return stamp_ns > 0 and -settings.max_latency_s <= ahead_s <= settings.future_tolerance_s


def deliveries(bag: Bag, schedule: Schedule, log: DeliveryLog) -> Iterator[Delivery]:
    """All deliveries in order of time; each one of a sensor is entered into ``log``."""
    sensors, script, start_ns = schedule.sensors, schedule.script, schedule.start_ns
    sensors_of: dict[str, list[str]] = {}  # several sensors may read different fields of one topic
    for name, served in sensors.items():
        sensors_of.setdefault(served.name, []).append(name)

    def stamp_at(t_s: float) -> int:
        return start_ns + int(t_s * 1e9)

    injectors = {
        topic: Injector(
            [f for f in script.faults if f.sensor in names],
            stamp_at,
            seed=index,
            has_header=sensors[names[0]].has_header,
            msg_type=sensors[names[0]].msg_type,
        )
        for index, (topic, names) in enumerate(sensors_of.items())
    }
    for name in sensors:
        log.all_s[name], log.sound_s[name] = [], []

    def flush(t_s: float) -> list[Delivery]:
        out = []
        for topic, injector in injectors.items():
            for due_s, raw, sound in injector.due(t_s):
                for name in sensors_of[topic]:
                    log.all_s[name].append(due_s)
                    if sound and schedule.is_believable(name, due_s, raw):
                        log.sound_s[name].append(due_s)
                out.append(Delivery(due_s, topic, raw))
        out.sort(key=lambda d: d.t_s)
        return out

    shift_s = 0.0
    t_s = 0.0
    stamped_topics = {name for name, topic in bag.topics.items() if topic.has_header}
    for _ in range(schedule.repeat):
        for topic, time_ns, raw in bag.messages([*sensors_of, *schedule.other_topics]):
            t_s = (time_ns - start_ns) * 1e-9 + shift_s
            if t_s > schedule.to_s:
                yield from flush(schedule.to_s)
                return
            if shift_s and topic in stamped_topics and stamp_of(raw):
                raw = stamped(raw, stamp_of(raw) + int(shift_s * 1e9))
            yield from flush(t_s - 1e-9)
            if topic in injectors:
                injectors[topic].feed(t_s, raw)
            else:
                yield Delivery(t_s, topic, raw)
        shift_s += schedule.period_s(bag)
    last_fault_s = max((f.to_s for f in script.faults if f.kind in ("freeze", "delay")), default=0.0)
    yield from flush(max(t_s, min(last_fault_s, t_s + AFTER_END_S, schedule.to_s)))
