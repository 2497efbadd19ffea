"""When ticks are due, and which thread takes each of them: the one that reads messages, or, where that one is late, another."""

from __future__ import annotations

import math
import threading

MISSED_PERIODS = 0.25  # a tick that is late by more than this is taken without the message that is being read
LEAST_MISSED_S = 0.008  # longer than a due tick waits for a sample
SOONEST_S, LATEST_S = 0.005, 1.0  # bounds of `until_missed_s`: simulated time runs at any speed


class TickSchedule:
    """Due times on the node clock [ns], one fuse period apart. Whoever takes a tick claims it first; several threads may try."""

    def __init__(self, fuse_rate_hz: float, poll_rate_hz: float):
        # A whole number of polls per fuse period, so that every tick coincides with a poll.
        self.poll_period_s = 1.0 / (fuse_rate_hz * math.ceil(poll_rate_hz / fuse_rate_hz))
        self._period_ns = 1e9 / fuse_rate_hz
        self._missed_ns = int(max(MISSED_PERIODS * self._period_ns, LEAST_MISSED_S * 1e9))
        self._due_ns = 0  # 0 before the first
        self._lock = threading.Lock()

    def reset(self) -> None:
        """No tick is due until `begin`, as after a jump of the clock."""
        with self._lock:
            self._due_ns = 0

    def begin(self, now_ns: int) -> None:
        """A tick is due now, where none has been due so far."""
        with self._lock:
            self._due_ns = self._due_ns or now_ns

    def is_due(self, now_ns: int) -> bool:
        """Whether a tick is due: no later poll will be nearer to it than this moment."""
        return self._due_ns > 0 and now_ns - self._due_ns >= -0.5e9 * self.poll_period_s

    def cannot_wait(self, now_ns: int) -> bool:
        """Whether a tick was due so long ago that it cannot wait for the rest of a poll."""
        return self._due_ns > 0 and now_ns - self._due_ns > 0.5e9 * self.poll_period_s

    def is_missed(self, now_ns: int) -> bool:
        """Whether a tick is so late that another thread should take it."""
        return self._due_ns > 0 and now_ns - self._due_ns >= self._missed_ns

    def late_s(self, now_ns: int) -> float:
        """How long ago the next tick was due [s]; negative before that."""
        return (now_ns - self._due_ns) * 1e-9

    def claim(self, now_ns: int) -> float | None:
        """Take the tick that is due: returns by how much it is late [s], or None if there is none, or another thread took it."""
        with self._lock:
            if not self.is_due(now_ns):
                return None
            late_ns = max(0, now_ns - self._due_ns)
            self._due_ns += int(self._period_ns * (1 + late_ns // self._period_ns))
            return late_ns * 1e-9

    def until_missed_s(self, now_ns: int) -> float:
        """How long to wait before `is_missed` is worth asking [s]."""
        if self._due_ns <= 0 or now_ns <= 0:
            return min(self._period_ns * 1e-9, LATEST_S)
        left_s = (self._due_ns + self._missed_ns - now_ns) * 1e-9
        return min(max(left_s, SOONEST_S), LATEST_S)
