"""What the first messages of a topic tell: how fast it sends, and whether its stamps fit the recording's clock."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..nanoseconds import NS_PER_S
from ..settings import SensorSettings
from .bag import Bag, Topic
from .header_stamps import stamp_of

MESSAGES = 100  # enough for a rate; reading more of a slow topic would take long
LONG_STEPS = 10  # a step of this many ordinary ones is a pause, not the rate
BURST_PAUSES = 3  # so many pauses that are alike are those between bursts, in which a recorder got the messages


@dataclass(frozen=True)
class TopicFacts:
    """rate_hz: messages per second, 0 if there are fewer than two. stamp_offset_s: median of stamp minus time of recording,
    None if the messages have no header. stamps_zero: whether no message was stamped."""

    rate_hz: float = 0.0
    stamp_offset_s: float | None = None
    stamps_zero: bool = False


def topic_facts(bag: Bag, topic: Topic) -> TopicFacts:
    """Look at the first messages of a topic."""
    first = [(time_ns, raw) for _, time_ns, raw in islice(bag.messages([topic.name]), MESSAGES)]
    times_ns = np.array([time_ns for time_ns, _ in first], np.int64)
    if not topic.has_header or not first:
        return TopicFacts(_rate_hz(times_ns))
    stamps_ns = np.array([stamp_of(raw) for _, raw in first], np.int64)
    offset_s = float(np.median(stamps_ns - times_ns)) / NS_PER_S
    return TopicFacts(_rate_hz(times_ns), offset_s, not stamps_ns.any())


def _rate_hz(times_ns: np.ndarray) -> float:
    steps = np.diff(times_ns)
    if not len(steps):
        return 0.0
    long = steps > LONG_STEPS * max(float(np.median(steps)), 1e6)
    pauses = steps[long]
    if len(pauses) >= BURST_PAUSES and pauses.max() <= 2 * pauses.min():
        first, last = np.flatnonzero(long)[[0, -1]]
        return float((last - first) * NS_PER_S / (times_ns[last + 1] - times_ns[first + 1]))
    usual = steps[~long]
    return len(usual) * NS_PER_S / float(usual.sum()) if usual.sum() > 0 else 0.0


def stamp_warning(facts: TopicFacts, sensor: SensorSettings) -> str:
    """Why the fuser would refuse every message of a sensor because of its stamps, with the remedy; "" if it would not."""
    if facts.stamp_offset_s is None or not sensor.trust_stamps:
        return ""
    if facts.stamps_zero:
        seen = "its driver does not stamp (all stamps are zero)"
    elif facts.stamp_offset_s > sensor.future_tolerance_s:
        seen = f"its stamps are {facts.stamp_offset_s:.1f} s ahead of the clock of the recording"
    elif -facts.stamp_offset_s > sensor.max_latency_s:
        seen = f"its stamps are {-facts.stamp_offset_s:.1f} s behind the clock of the recording"
    else:
        return ""
    return f"{sensor.name}: {seen}, and the fuser refuses such messages; set {sensor.name}.trust_stamps: false"
