"""When a recording alone makes a sensor OK: what its own messages prevent is not held against the fuser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..bags.bag import Bag
from ..bags.header_stamps import stamp_of, stamped
from ..bags.message_types import definition_of, deserialiser
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec
from ..sensing.liveness import State
from ..sensing.sensor import Sensor
from .schedule import Schedule

# (sensor, from_s) -> when it is OK if its recorded messages are heard from then on without faults, None if never; and why not.
RecordedState = Callable[[str, float], tuple[float | None, str]]


def recorded_state(bag: Bag, schedule: Schedule, specs: Sequence[ModalitySpec]) -> RecordedState:
    """A function that plays messages of one sensor through the fuser's own checks, until it is OK for the first time."""

    def ok_from(name: str, from_s: float) -> tuple[float | None, str]:
        topic, settings = schedule.sensors[name], schedule.settings[name]
        definition = definition_of(bag, topic.name) if settings.fields else None
        sensor = Sensor(replace(settings, msg_type=topic.msg_type), specs, deserialiser(bag, topic.name), definition=definition)
        period_s = schedule.period_s(bag)
        begin_ns = schedule.start_ns + round(from_s * NS_PER_S)
        reason = "there are none"
        for number in range(min(int(from_s // period_s), schedule.repeat - 1) if period_s > 0 else 0, schedule.repeat):
            shift_ns = int(number * period_s * NS_PER_S)  # of a pass of a recording that is played repeatedly
            for _, time_ns, raw in bag.messages([topic.name]):
                now_ns = time_ns + shift_ns
                if now_ns < begin_ns:
                    continue
                if shift_ns and topic.has_header and stamp_of(raw):
                    raw = stamped(raw, stamp_of(raw) + shift_ns)
                sensor.feed([raw], np.array([now_ns], np.int64), now_ns, now_ns)
                status = sensor.check(now_ns, now_ns)
                if status.state == State.OK:
                    return (now_ns - schedule.start_ns) / NS_PER_S, ""
                reason = status.reason
        return None, reason

    return ok_from
