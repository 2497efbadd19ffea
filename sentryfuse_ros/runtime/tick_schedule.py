"""When ticks are due and topics are polled, and which thread takes each tick: the one that reads messages, or, where that one is
late, another."""

from __future__ import annotations

import math
import threading

MISSED_PERIODS = 0.25  # a tick that is late by more than this is taken without the message that is being read
LEAST_MISSED_S = 0.008  # longer than a due tick waits for a sample
AHEAD_S = 0.008  # before a tick, pictures and clouds are looked at once more: long enough to check them and to make rows
EARLY_S = 0.001  # a poll may be early for its tick by so much
SHORTEST_S = 0.0005  # from poll to poll
SOONEST_S, LATEST_S = 0.005, 1.0  # bounds of `until_missed_s`: simulated time runs at any speed


class TickSchedule:
    """Due times on the node clock [ns], one fuse period apart. Whoever takes a tick claims it first; several threads may try.

    simulated: the node clock may run at any speed, so polls cannot be planned by it. They are a poll period apart then, and a
    tick is taken by the one that is nearest to it.
    """

    def __init__(self, fuse_rate_hz: float, poll_rate_hz: float, simulated: bool = False):
        # A whole number of polls per fuse period, so that every tick coincides with a poll.
        polls = math.ceil(poll_rate_hz / fuse_rate_hz)
        self.poll_period_s = 1.0 / (fuse_rate_hz * polls)
        self._early_ns = 0.5e9 * self.poll_period_s if simulated else 1e9 * EARLY_S
        # The last poll before a tick is so long ahead of it, and the others are equally far apart.
        self._ahead_s = min(AHEAD_S, 0.5 * self.poll_period_s) if polls > 1 else 0.0
        self._apart_s = (1.0 / fuse_rate_hz - self._ahead_s) / max(polls - 1, 1)
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

    def until_poll_s(self, now_ns: int, between: bool = True) -> float:
        """How long to wait for the next poll [s], at least `SHORTEST_S`; ``between``: there are polls between ticks.

        Where a tick is due and was not taken, and before the first, that is a poll period.
        """
        left_s = (self._due_ns - now_ns) * 1e-9
        if self._due_ns <= 0 or left_s <= 0:
            return self.poll_period_s
        before_last_s = left_s - self._ahead_s
        if between and before_last_s >= EARLY_S:
            left_s = before_last_s - math.floor((before_last_s - EARLY_S) / self._apart_s) * self._apart_s
        return min(max(left_s, SHORTEST_S), self._period_ns * 1e-9)

    def until_last_poll_s(self, now_ns: int) -> float:
        """How long it is to the last poll before that of the next tick [s], 0 if that is over."""
        return max(0.0, (self._due_ns - now_ns) * 1e-9 - self._ahead_s)

    def is_due(self, now_ns: int) -> bool:
        """Whether a tick is due: no later poll will be nearer to it than this moment."""
        return self._due_ns > 0 and now_ns - self._due_ns >= -self._early_ns

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
