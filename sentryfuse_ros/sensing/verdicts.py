"""Verdicts on single messages, from their stamps and from the fingerprints of their payloads.

`SensorLiveness` turns the verdicts into states. Everything works on whole batches: a dozen numpy calls judge the messages of
one poll, and only a change of verdict costs a step in Python.
"""

from __future__ import annotations

import enum

import numpy as np

from ..nanoseconds import NS_PER_S
from .rates import OUT_OF_ORDER_NS, StampPeriod

NO_LIMIT_NS = 1 << 62


class Verdict(enum.IntEnum):
    """Verdict on one message. From LATE on it is bad, from STAMP_ZERO on it is refused; FAULT + f stands for payload fault f."""

    GOOD = 0
    REPEAT = 1  # the same payload as before, not yet often enough to be FROZEN
    LATE = 2
    FROZEN = 3
    STAMP_ZERO = 4
    STAMP_FUTURE = 5
    STAMP_BACK = 6
    FAULT = 7


class RepeatDetector:
    """Counts equal payloads in a row; ``frozen_samples`` of them are FROZEN, 0 means never."""

    def __init__(self, frozen_samples: int):
        self.frozen_samples = frozen_samples
        self.reset()

    def reset(self) -> None:
        """Forget the last payload."""
        self.run = 0  # equal payloads in a row so far
        self._fingerprint: int | None = None

    def all_fresh(self, fingerprint: np.ndarray) -> bool:
        """Whether no payload of a batch equals the one before it. The batch is taken in if so, and else left for `judge`."""
        if int(fingerprint[0]) == self._fingerprint:
            return False
        if len(fingerprint) > 1 and np.count_nonzero(fingerprint[1:] == fingerprint[:-1]):
            return False
        self._fingerprint, self.run = int(fingerprint[-1]), 1
        return True

    def judge(self, fault: np.ndarray, fingerprint: np.ndarray) -> np.ndarray:
        """Verdicts GOOD, REPEAT or FROZEN for n messages, int16 (n,).

        Messages with a fault are passed over: a stuck camera stays stuck through a malformed message.
        """
        verdict = np.zeros(len(fault), np.int16)
        at = np.flatnonzero(fault == 0)
        if not len(at):
            return verdict
        prints = fingerprint[at]
        changed = np.ones(len(at), bool)
        changed[0] = int(prints[0]) != self._fingerprint
        changed[1:] = prints[1:] != prints[:-1]
        index = np.arange(1, len(at) + 1)
        # Length of the run that each message belongs to; the first run continues that of the batch before.
        run = index - np.maximum.accumulate(np.where(changed, index - 1, -self.run))
        if self.frozen_samples:  # otherwise a repeated payload is as good as a new one
            verdict[at] = run > 1
            verdict[at[run >= self.frozen_samples]] = Verdict.FROZEN
        self._fingerprint, self.run = int(prints[-1]), int(run[-1])
        return verdict


class StampJudge:
    """Compares stamps with the node clock and with each other, and counts the messages missing between them.

    A stamp is believable unless it is zero, more than ``future_tolerance_s`` ahead of the node clock, or more than
    ``backward_tolerance_s`` behind the newest believable stamp. A message that arrives more than ``max_latency_s`` after its
    stamp is LATE (0: never). ``period`` learns from the steps between believable stamps.
    """

    def __init__(self, period: StampPeriod, future_tolerance_s: float, backward_tolerance_s: float, max_latency_s: float):
        self.period = period
        self._future_ns, self._backward_ns = round(future_tolerance_s * NS_PER_S), round(backward_tolerance_s * NS_PER_S)
        self._late_ns = round(max_latency_s * NS_PER_S) if max_latency_s else NO_LIMIT_NS
        self.dropped = 0  # messages that never came, since the construction
        self.reset()

    def reset(self) -> None:
        """Forget all stamps; the count of dropped messages and the period stay."""
        self.newest_ns = 0  # newest believable stamp, 0 when there is none
        self.latency_s = 0.0  # stamp to arrival of the newest message with a believable stamp
        self._unstamped = 0  # messages without a believable stamp since the newest believable one

    def all_regular(self, arrival_ns: np.ndarray, now_node_ns: int, stamp_ns: np.ndarray, skipped: bool = False) -> bool:
        """Whether all stamps are believable, in order and in time. The batch is taken in if so, and else left for `judge`.

        ``skipped``: messages before the first were left out on purpose, so that none is missing before it.
        """
        first = int(stamp_ns[0])
        if first <= 0 or first < self.newest_ns:
            return False
        alone = len(stamp_ns) == 1  # as a picture is: numbers are then faster than arrays
        steps = None if alone else stamp_ns[1:] - stamp_ns[:-1]
        if steps is not None and int(steps.min()) < 0:
            return False
        if now_node_ns > 0:
            # Latencies without the offset between the two clocks, which is added to the limits.
            offset, newest = now_node_ns - int(arrival_ns[-1]), int(arrival_ns[-1]) - int(stamp_ns[-1])
            least = most = newest
            if not alone:
                latency = arrival_ns - stamp_ns
                least, most = int(latency.min()), int(latency.max())
            if least < -self._future_ns - offset or most > self._late_ns - offset:
                return False
            self.latency_s = (newest + offset) / NS_PER_S
        if skipped:
            self.dropped += self.period.skip_stamps()
        elif self.newest_ns:
            gap = first - self.newest_ns
            if alone:  # the steps inside a batch teach the period; learning from this one too would double the cost
                self.period.learn_step(gap)
            self.dropped += self.period.gap_by_stamp(gap, self._unstamped)
        if steps is not None:
            self.dropped += self.period.gaps_by_stamps(steps)
        self.newest_ns, self._unstamped = int(stamp_ns[-1]), 0
        return True

    def judge(
        self, arrival_ns: np.ndarray, now_node_ns: int, stamp_ns: np.ndarray, verdict: np.ndarray, skipped: bool = False
    ) -> np.ndarray:
        """Write the verdicts on bad stamps into ``verdict`` (n,); returns the seconds (n,) that a reason quotes.

        These are how far a stamp is behind the newest one for STAMP_BACK, and the latency for the other verdicts.
        """
        zero = stamp_ns <= 0
        future = np.zeros_like(zero)
        node = None
        if now_node_ns > 0:
            node = arrival_ns + (now_node_ns - int(arrival_ns[-1]))  # node clock when each message arrived
            future = ~zero & (stamp_ns > node + self._future_ns)
        newest = np.maximum.accumulate(np.where(zero | future, self.newest_ns, stamp_ns))
        newest = np.maximum(newest, self.newest_ns)
        before = np.concatenate(([self.newest_ns], newest[:-1]))
        back = ~(zero | future) & (stamp_ns < before - self._backward_ns)
        believable = ~(zero | future | back)
        self._take(newest, believable, stamp_ns < before, skipped)
        value_ns = before - stamp_ns
        if node is not None:
            latency = node - stamp_ns
            verdict[(verdict < Verdict.LATE) & (latency > self._late_ns)] = Verdict.LATE  # FROZEN is worse and stays
            value_ns = np.where(back, value_ns, latency)
            if believable.any():
                self.latency_s = float(latency[believable][-1]) / NS_PER_S
        verdict[zero], verdict[future], verdict[back] = Verdict.STAMP_ZERO, Verdict.STAMP_FUTURE, Verdict.STAMP_BACK
        return value_ns / NS_PER_S

    def _take(self, newest: np.ndarray, believable: np.ndarray, older: np.ndarray, skipped: bool) -> None:
        """Count the gaps between believable stamps. A message without a believable stamp fills a gap.

        older: bool (n,), whether a stamp is older than the newest before it.
        """
        if skipped:
            self.dropped += self.period.skip_stamps()
        at = np.flatnonzero(believable)
        if not len(at):
            self._unstamped += len(newest)
            return
        unstamped = np.cumsum(~believable)
        filled = np.diff(unstamped[at], prepend=-self._unstamped)
        steps = np.where(older[at], OUT_OF_ORDER_NS, np.diff(newest[at], prepend=self.newest_ns))
        if not self.newest_ns or skipped:
            steps, filled = steps[1:], filled[1:]
        self.dropped += self.period.gaps_by_stamps(steps, filled)
        self.newest_ns = int(newest[-1])
        self._unstamped = int(unstamped[-1] - unstamped[at[-1]])
