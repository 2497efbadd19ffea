"""How fast a sensor sends, and how many of its messages are missing."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from ..nanoseconds import NS_PER_S
from .missing_balance import GAP, SHORT, MissingBalance

RATE_MEMORY_S = 2.0  # time constant with which the average of the arrival rate forgets
MIN_TIMEOUT_S = 0.2  # below it, a loaded CPU or a garbage collection would look like a dead sensor
TIMEOUT_PERIODS = 3  # two lost messages in a row are forgiven
UNKNOWN_TIMEOUT_S = 1.0  # until the period is given or measured
NEW_START_NS = 60 * NS_PER_S  # a longer step means that a clock jumped or the sensor was off, not that messages were lost
OUT_OF_ORDER_NS = -1  # stands for the step to a stamp that is older than the newest
STEPS_KEPT = 64  # the period is their median, which is right unless more than half of the messages are lost
STEPS_NEEDED = 4  # steps before the first estimate
BURST_RATIO = 20  # steps this many times longer than the median, and alike, are the pauses between bursts of stamps
BURST_STEPS = 3  # at least so many of them, or one where the median is below that of any sensor of a robot
FASTEST_NS = 2_000_000  # [ns]
PAUSES_KEPT = 8  # between bursts of arrivals: a sensor that begins to send in bursts is understood after the fifth
PAUSE_PERIODS = 2.0  # a longer step between arrivals is a pause
BURSTS_FORGOTTEN = 4.0  # pauses' time without a pause after which the sensor sends singly again
BURST_TIMEOUT = 2  # of the pauses between bursts of arrivals: one burst may be late by as much again
MOST_LOST = 2.5  # losses of up to half of the messages do not make the mean of the steps so many medians
SHORT_SHARE = 1 / 32  # with more short steps, two at the least, the median may be far from the mean
LONGEST_STEP = 2.0  # the mean of uneven steps leaves out those of more periods, in which messages are missing
PERIOD_MEMORY = 8  # measurements of uneven stamps that the period is averaged over, because each is inexact
SAME_PERIOD = 0.25  # a measurement that differs by more, as a share of the period, is of another rate
STEPS_STALE = 32  # new steps after which the median is taken again; it costs more than the rest of a batch together


def automatic_timeout_s(period_s: float) -> float:
    """Silence [s] after which a sensor with this period counts as STALE: max(3 periods, 0.2 s)."""
    return max(TIMEOUT_PERIODS * period_s, MIN_TIMEOUT_S)


class ArrivalRate:
    """Arrival rate [Hz] with exponential forgetting, which is right as well for messages that are taken in batches."""

    def __init__(self) -> None:
        self._messages = self._span_s = 0.0
        self._last_ns: int | None = None

    def add(self, arrival_ns: int, count: int, since_ns: int | None = None) -> None:
        """Count ``count`` messages, the last of which arrived at ``arrival_ns``.

        ``since_ns``: where messages before these were left out, the arrival that the time is counted from instead of the last.
        """
        if self._last_ns is not None:  # the first batch spans an unknown time
            keep = math.exp(-max(0, arrival_ns - self._last_ns) / NS_PER_S / RATE_MEMORY_S)
            span_s = max(0, arrival_ns - (self._last_ns if since_ns is None else since_ns)) / NS_PER_S
            self._messages = self._messages * keep + count
            self._span_s = self._span_s * keep + span_s
        self._last_ns = arrival_ns

    def rate_hz(self, silent_s: float) -> float:
        """Rate now [Hz]. ``silent_s``: silence [s] to be included, 0 between two regular messages."""
        keep = math.exp(-silent_s / RATE_MEMORY_S)
        span_s = self._span_s * keep + silent_s
        return self._messages * keep / span_s if self._span_s > 0 else 0.0


class ArrivalPause:
    """The usual pause between arrivals of a sensor whose messages are handed over in bursts [s]; 0 for others.

    A pause counts if the burst after it holds as many messages as the sensor makes in that time: nothing was lost, it was only
    handed over late. The pauses of a sensor that is slow or stutters do not count.
    """

    def __init__(self) -> None:
        self.pause_s = 0.0
        self._pauses: deque[int] = deque(maxlen=PAUSES_KEPT)  # [ns]
        self._last_ns: int | None = None
        self._pause_ns, self._messages = 0, 0  # the newest pause, 0 where none is known, and how many messages came since

    def add(self, arrival_ns: np.ndarray, period_ns: float) -> None:
        """Take the arrivals (n,) [ns] of one batch of a sensor with this period, 0 where it is not known."""
        last, self._last_ns = self._last_ns, int(arrival_ns[-1])
        if last is None or not period_ns:
            return
        n, longest_ns = len(arrival_ns), PAUSE_PERIODS * period_ns
        first, inner = int(arrival_ns[0]) - last, arrival_ns[1:] - arrival_ns[:-1] if n > 1 else None
        if first > longest_ns or (inner is not None and inner.max() > longest_ns):
            at, steps = 0, np.array([first]) if inner is None else np.concatenate(([first], inner))  # faster than np.diff
            for index in np.flatnonzero(steps > longest_ns).tolist():
                self._end_burst(self._messages + index - at, period_ns)
                self._pause_ns, self._messages, at = int(steps[index]), 0, index
            self._messages = n - at
            return
        self._messages += n
        if self.pause_s and self._messages * period_ns > BURSTS_FORGOTTEN * self.pause_s * NS_PER_S:
            self._pauses.clear()  # it has not paused for long: the messages come singly again
            self.pause_s = 0.0

    def skip(self) -> None:
        """Messages were skipped before the next batch: what came before it is not known, and is no pause."""
        self._last_ns, self._pause_ns, self._messages = None, 0, 0

    def _end_burst(self, messages: int, period_ns: float) -> None:
        if messages >= 2 and self._pause_ns and 0.5 <= messages * period_ns / self._pause_ns <= 1.5:
            self._pauses.append(self._pause_ns)
            if len(self._pauses) >= STEPS_NEEDED:
                self.pause_s = sorted(self._pauses)[len(self._pauses) // 2] / NS_PER_S


class StampPeriod:
    """Period of a sensor, given or measured, and how many messages are missing according to it."""

    def __init__(self, expected_rate_hz: float = 0.0):
        self._measured = expected_rate_hz <= 0
        self.period_ns = 0.0 if self._measured else NS_PER_S / expected_rate_hz  # 0: not known yet
        self._pause_ns = 0.0  # usual step between two bursts of stamps, 0 where the stamps come singly
        self._balance = MissingBalance()
        self._steps = np.zeros(STEPS_KEPT, np.int64)
        self._count = self._since = 0
        self.forget_arrivals()

    @property
    def timeout_s(self) -> float:
        """`automatic_timeout_s` of this period, or 1 s while the period is not known."""
        return automatic_timeout_s(self.period_ns / NS_PER_S) if self.period_ns else UNKNOWN_TIMEOUT_S

    def forget_arrivals(self) -> None:
        """What comes next follows nothing; the period stays."""
        self._last_arrival_ns: int | None = None
        self._owed = 0.0  # messages that should have arrived by now and did not
        self._balance.clear()

    def gap_by_stamp(self, step_ns: int, filled: int = 0) -> int:
        """Messages known to be missing after one step between stamps, from which nothing is learnt.

        ``filled`` messages came in between without a believable stamp; they are not missing.
        """
        if not self.period_ns:
            return 0
        if step_ns > NEW_START_NS:
            self._balance.clear()
            return 0
        if not self._pause_ns:
            return self._balance.add(step_ns / self.period_ns, filled)
        if step_ns <= GAP * self._pause_ns:
            return 0
        return max(0, round((step_ns - self._pause_ns) / self.period_ns) - filled)

    def gaps_by_stamps(self, steps_ns: np.ndarray, filled: np.ndarray | None = None) -> int:
        """Messages known to be missing after steps (k,) between stamps. If the period is measured, it is learnt from these."""
        if self._measured:
            self._learn(steps_ns)
        if not self.period_ns:
            return 0
        closed = bool(self._pause_ns) or self._balance.closed  # so that it is enough to look for a step that is not usual
        short_ns, long_ns = (0.0, self._pause_ns) if self._pause_ns else (SHORT * self.period_ns, self.period_ns)
        if closed and not np.count_nonzero((steps_ns < short_ns) | (steps_ns > GAP * long_ns)):
            return 0
        fills = [0] * len(steps_ns) if filled is None else filled.tolist()
        return sum(self.gap_by_stamp(step, fill) for step, fill in zip(steps_ns.tolist(), fills, strict=True))

    def skip_to(self, arrival_ns: int) -> None:
        """The messages up to this arrival were left out on purpose: none of them is missing."""
        self._last_arrival_ns = arrival_ns

    def skip_stamps(self) -> int:
        """Messages were left out on purpose before the next stamp. Those known to be missing before that, of which no later stamp
        will tell."""
        return self._balance.end()

    def gaps_by_arrival(self, arrival_ns: int, count: int) -> int:
        """Messages missing by the time of arrival alone, given that ``count`` arrived.

        Messages are taken in uneven batches, so one message too few is not counted at once.
        """
        last, self._last_arrival_ns = self._last_arrival_ns, arrival_ns
        if last is None or arrival_ns <= last:
            return 0
        if arrival_ns - last > NEW_START_NS:
            self._owed = 0.0  # a new start
            return 0
        if self._measured:
            self._learn(np.array([(arrival_ns - last) // count]))
        if not self.period_ns:
            return 0
        self._owed = max(self._owed + (arrival_ns - last) / self.period_ns - count, -1.0)
        missing = int(self._owed)
        if self._owed < GAP:
            return 0
        self._owed -= missing
        return missing

    def _learn(self, steps_ns: np.ndarray) -> None:
        steps = steps_ns[steps_ns > 0][-STEPS_KEPT:]
        k = len(steps)
        if not k:
            return
        at = self._count % STEPS_KEPT
        head = min(k, STEPS_KEPT - at)
        self._steps[at : at + head] = steps[:head]
        self._steps[: k - head] = steps[head:]
        self._settle(k)

    def learn_step(self, step_ns: int) -> None:
        """Learn the period, if it is measured, from one step between stamps."""
        if self._measured and step_ns > 0:
            self._steps[self._count % STEPS_KEPT] = step_ns
            self._settle(1)

    def _settle(self, new: int) -> None:
        """Take the period from the steps kept, of which so many are new, where it is due."""
        self._count += new
        self._since += new
        known = min(self._count, STEPS_KEPT)
        if known >= STEPS_NEEDED and (known <= STEPS_STALE or self._since >= STEPS_STALE or not self.period_ns):
            self._since = 0
            self._take(self._steps[:known])

    def _take(self, steps_ns: np.ndarray) -> None:
        """Take the period, and the pause between bursts of stamps, from steps (k,).

        Losses do not change the median of the steps, which is the period. Where the stamps come in bursts the period is the mean,
        and the pause is the step between two bursts. Where they come unevenly it is the mean of the steps that hide no loss.
        """
        steps_ns = np.sort(steps_ns)
        median = float(steps_ns[len(steps_ns) // 2])
        if SHORT * median <= steps_ns[0] and steps_ns[-1] <= GAP * median:  # the usual case, and the only one that must be cheap
            self.period_ns, self._pause_ns = median, 0.0
            return
        pauses = steps_ns[steps_ns > BURST_RATIO * median]
        if len(pauses) >= (BURST_STEPS if median >= FASTEST_NS else 1) and int(pauses.max()) <= 2 * int(pauses.min()):
            self.period_ns, self._pause_ns = float(steps_ns.mean()), float(pauses.mean())
            self._balance.clear()
            return
        self._pause_ns = 0.0
        mean = float(steps_ns[steps_ns <= BURST_RATIO * median].mean())
        if mean <= MOST_LOST * median:
            if np.count_nonzero(steps_ns < SHORT * median) < max(2, len(steps_ns) * SHORT_SHARE):
                single = np.count_nonzero(steps_ns <= GAP * median)
                self.period_ns = float(steps_ns[single // 2])  # without the gaps, with which it would be a little too long
                return
            for _ in range(2):  # the first limit is still drawn up by the gaps
                mean = float(steps_ns[steps_ns <= LONGEST_STEP * mean].mean())
        steady = len(steps_ns) == STEPS_KEPT and abs(mean - self.period_ns) < SAME_PERIOD * self.period_ns
        self.period_ns += (mean - self.period_ns) / (PERIOD_MEMORY if steady else 1)

    def relearn(self, period_ns: float) -> None:
        """A sensor came back after a silence, with this time between its first messages [ns].

        If it is now slower than all that was measured would say, that is forgotten.
        """
        if self._measured and self.period_ns and period_ns > GAP * self.period_ns:
            self.period_ns = period_ns
            self._count = self._since = 0
            self._learn(np.full(STEPS_NEEDED, round(period_ns), np.int64))
