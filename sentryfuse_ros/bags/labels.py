"""Labels: which class holds when, as intervals of time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..nanoseconds import NS_PER_S

TOUCHING_NS = 1000  # intervals this close have nothing between them: seconds since 1970 are rounded when they are written


AFTER_CHANGE_S = (0.0, 0.5, 1.0, 2.0)  # reports tell the times since a change of the label apart by these


class Interval(NamedTuple):
    """``label`` holds for from_ns <= t < to_ns."""

    from_ns: int
    to_ns: int
    label: str


@dataclass(frozen=True)
class Labels:
    """Labelled intervals in ascending order; the time between them has no label.

    All times are nanoseconds on one clock: that of the message stamps when the labels are read (`bags.label_sources`), or
    the time since the recording began after `since`.
    """

    intervals: tuple[Interval, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, str]]) -> Labels:
        """From rows (from_ns, to_ns, label) in ascending order."""
        return cls(tuple(Interval(*row) for row in rows))

    @classmethod
    def of_seconds(cls, rows: Iterable[tuple[float, float, str]]) -> Labels:
        """From rows (from_s, to_s, label) in ascending order."""
        return cls(tuple(Interval(round(a * NS_PER_S), round(b * NS_PER_S), label) for a, b, label in rows))

    def names(self) -> tuple[str, ...]:
        """Every label once, in the order in which they first occur."""
        return tuple(dict.fromkeys(interval.label for interval in self.intervals))

    def seconds(self) -> list[tuple[float, float, str]]:
        """The intervals as (from_s, to_s, label)."""
        return [(interval.from_ns * 1e-9, interval.to_ns * 1e-9, interval.label) for interval in self.intervals]

    def _last_begun(self, t_ns: int) -> int:
        """Index of the last interval that began at or before ``t_ns``; -1 if there is none."""
        return bisect_right(self.intervals, t_ns, key=lambda interval: interval.from_ns) - 1

    def at(self, t_ns: int) -> str:
        """The label at a time; "" if there is none."""
        i = self._last_begun(t_ns)
        return self.intervals[i].label if i >= 0 and t_ns < self.intervals[i].to_ns else ""

    def at_s(self, t_s: float) -> str:
        """`at` for a time in seconds."""
        return self.at(round(t_s * NS_PER_S))

    def between(self, begin_ns: int, end_ns: int) -> tuple[str, ...]:
        """The labels within a stretch of time in order, equal neighbours named once; time without a label is skipped."""
        return _without_repeats(i.label for i in self.intervals if i.from_ns < end_ns and i.to_ns > begin_ns)

    def covering(self, begin_ns: int, end_ns: int) -> tuple[str, ...]:
        """The labels that cover the whole stretch in order, equal neighbours named once; () if any part has no label.

        One label held all the time exactly if the result has one entry.
        """
        i = self._last_begun(begin_ns)
        if i < 0 or self.intervals[i].to_ns <= begin_ns:
            return ()
        found, reached_ns = [self.intervals[i].label], self.intervals[i].to_ns
        while reached_ns < end_ns:
            i += 1
            if i == len(self.intervals) or self.intervals[i].from_ns - reached_ns >= TOUCHING_NS:
                return ()
            found.append(self.intervals[i].label)
            reached_ns = self.intervals[i].to_ns
        return _without_repeats(found)

    def seconds_since_change(self, t_ns: int) -> float | None:
        """How long the label of a time has held by then [s]; None if there is none, or no other label was known before it."""
        i = self._last_begun(t_ns)
        if i < 0 or t_ns >= self.intervals[i].to_ns:
            return None
        while i > 0:
            before, own = self.intervals[i - 1], self.intervals[i]
            if before.label != own.label:
                return (t_ns - own.from_ns) / NS_PER_S
            if own.from_ns - before.to_ns >= TOUCHING_NS:
                return None  # nobody knows what was there in between
            i -= 1
        return None

    def since(self, start_ns: int) -> Labels:
        """The same labels on a clock that begins at ``start_ns``; neighbours of one label that touch become one interval."""
        joined: list[Interval] = []
        for from_ns, to_ns, label in self.intervals:
            from_ns, to_ns = from_ns - start_ns, to_ns - start_ns
            if joined and joined[-1].label == label and from_ns - joined[-1].to_ns < TOUCHING_NS:
                from_ns = joined.pop().from_ns
            joined.append(Interval(from_ns, to_ns, label))
        return Labels(tuple(joined))

    def repeated(self, times: int, period_ns: int) -> Labels:
        """The labels of a recording that is played ``times`` times, one pass beginning every ``period_ns``."""
        return Labels(
            tuple(Interval(a + n * period_ns, b + n * period_ns, label) for n in range(times) for a, b, label in self.intervals)
        )


def _without_repeats(labels: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for label in labels:
        if not found or found[-1] != label:
            found.append(label)
    return tuple(found)
