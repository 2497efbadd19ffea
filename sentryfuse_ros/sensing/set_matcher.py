"""Matching of messages from several inputs by stamp, without waiting for an input that went silent.

The core of `SnapshotSynchronizer`: no callbacks, no locks, no clock of its own. Times are int nanoseconds.
"""

from __future__ import annotations

import bisect
from typing import Any

MatchedMessages = tuple[Any, ...]  # one message per input, None for an input that is silent


class SilenceWatch:
    """How long each input has been silent, as told by the messages of the others.

    Two measures count, whichever is longer: the caller's clock, and the progress of the stamps, which runs ahead of the clock
    when a bag is played faster than real time. One message never advances either of them by more than half the timeout, so
    that after a stall of the whole process the first message does not make all other inputs look silent.
    """

    def __init__(self, inputs: int, timeout_ns: int):
        self._timeout_ns, self._step_ns = timeout_ns, max(1, timeout_ns // 2)
        self._clock_ns = self._stamp_ns = 0  # progress of the two measures
        self._heard = [(0, 0)] * inputs  # both measures at the last message of each input
        self._origin_ns: list[int | None] = [None] * inputs  # stamp of each input at which the stamp measure was 0
        self._last_now_ns: int | None = None

    def pass_time(self, now_ns: int) -> None:
        """Advance the clock measure to the caller's clock."""
        if self._last_now_ns is not None:
            self._clock_ns += min(max(0, now_ns - self._last_now_ns), self._step_ns)
        self._last_now_ns = now_ns

    def hear(self, slot: int, stamp_ns: int) -> None:
        """Advance the stamp measure by a message of an input, which is not silent now."""
        origin_ns = self._origin_ns[slot]
        lead_ns = 0 if origin_ns is None else stamp_ns - origin_ns - self._stamp_ns
        if lead_ns > 0:
            self._stamp_ns += min(lead_ns, self._step_ns)
        if origin_ns is None or lead_ns > self._step_ns:
            self._origin_ns[slot] = stamp_ns - self._stamp_ns
        self._heard[slot] = self._clock_ns, self._stamp_ns

    def jump(self, slot: int) -> None:
        """The stamps of an input jumped back; its next one is a new origin."""
        self._origin_ns[slot] = None

    def live(self) -> list[bool]:
        """For each input whether it was heard within the timeout."""
        limit = self._timeout_ns
        return [self._clock_ns - clock <= limit and self._stamp_ns - stamp <= limit for clock, stamp in self._heard]


class SetMatcher:
    """Keeps the messages that wait for partners and returns the sets that become complete.

    A set has one message of every live input, their stamps at most ``slop_ns`` apart; of all such sets around a message the one
    with the smallest spread is taken. Sets come in the order of their stamps, and no message is used twice.
    """

    def __init__(self, inputs: int, queue_size: int, slop_ns: int, timeout_ns: int):
        self.inputs, self.queue_size = inputs, queue_size
        self._slop_ns, self._timeout_ns = slop_ns, timeout_ns
        self.dropped = 0  # messages that found no partner, or came after the set they belong to
        self.reset()

    def reset(self) -> None:
        """Forget the waiting messages and which inputs were silent; the count of dropped messages stays."""
        self._stamps: list[list[int]] = [[] for _ in range(self.inputs)]  # of the waiting messages, sorted
        self._messages: list[dict[int, Any]] = [{} for _ in range(self.inputs)]  # the same messages by stamp
        self._newest_ns: list[int | None] = [None] * self.inputs
        self._used_to_ns: int | None = None  # newest stamp of the last set: a message that is not newer comes too late
        self._silence = SilenceWatch(self.inputs, self._timeout_ns)
        self._live = [True] * self.inputs

    @property
    def waiting(self) -> int:
        """Number of messages that wait for partners."""
        return sum(map(len, self._stamps))

    def add(self, message: Any, slot: int, stamp_ns: int, now_ns: int) -> list[MatchedMessages]:
        """Take a message of input ``slot``; returns the sets that it completes, in order."""
        newest_ns = self._newest_ns[slot]
        if newest_ns is not None and stamp_ns < newest_ns - self._timeout_ns:
            self._jump(slot, stamp_ns)
        elif newest_ns is None or stamp_ns > newest_ns:
            self._newest_ns[slot] = stamp_ns
        self._silence.pass_time(now_ns)
        self._silence.hear(slot, stamp_ns)
        if self._used_to_ns is not None and stamp_ns <= self._used_to_ns:
            self.dropped += 1
            return self._release_silent()
        if stamp_ns not in self._messages[slot]:
            bisect.insort(self._stamps[slot], stamp_ns)
        else:
            self.dropped += 1  # a second message with the same stamp replaces the first
        self._messages[slot][stamp_ns] = message
        sets = self._release_silent()
        if stamp_ns in self._messages[slot]:
            sets += self._complete(slot, stamp_ns)
        if len(self._stamps[slot]) > self.queue_size:
            del self._messages[slot][self._stamps[slot].pop(0)]
            self.dropped += 1
        return sets

    def pass_time(self, now_ns: int) -> list[MatchedMessages]:
        """Sets that are complete because an input has fallen silent by now, in order."""
        self._silence.pass_time(now_ns)
        return self._release_silent()

    def _jump(self, slot: int, stamp_ns: int) -> None:
        """Time went back to ``stamp_ns``, first noticed at this input: drop the messages from before, keep those since."""
        limit_ns = stamp_ns + self._timeout_ns
        for other in range(self.inputs):
            keep = bisect.bisect_right(self._stamps[other], limit_ns)
            self._forget(other, keep, len(self._stamps[other]))
        if self._used_to_ns is not None and self._used_to_ns > limit_ns:
            self._used_to_ns = None
        self._newest_ns[slot] = stamp_ns
        self._silence.jump(slot)

    def _forget(self, slot: int, start: int, stop: int) -> None:
        for stamp_ns in self._stamps[slot][start:stop]:
            del self._messages[slot][stamp_ns]
        del self._stamps[slot][start:stop]
        self.dropped += stop - start

    def _release_silent(self) -> list[MatchedMessages]:
        """If an input has just fallen silent, the sets that waited for it alone are complete."""
        was_live, self._live = self._live, self._silence.live()
        if not any(was and not now for was, now in zip(was_live, self._live, strict=True)):
            return []
        sets: list[MatchedMessages] = []
        for stamp_ns, slot in sorted((s, slot) for slot, stamps in enumerate(self._stamps) for s in stamps):
            if stamp_ns in self._messages[slot]:
                sets += self._complete(slot, stamp_ns)
        return sets

    def _complete(self, slot: int, stamp_ns: int) -> list[MatchedMessages]:
        """The closest set around one waiting message; nothing if a live input has no message for it yet."""
        wanted = [k for k in range(self.inputs) if k == slot or self._live[k]]
        near: dict[int, list[int]] = {}
        for k in wanted:
            stamps = self._stamps[k] if k != slot else [stamp_ns]
            low = bisect.bisect_left(stamps, stamp_ns - self._slop_ns)
            high = bisect.bisect_right(stamps, stamp_ns + self._slop_ns)
            if low == high:
                return []
            near[k] = stamps[low:high]
        best = self._closest(near, slot, stamp_ns)
        if best is None:
            return []
        matched = tuple(self._messages[k][best[k]] if k in best else None for k in range(self.inputs))
        self._used_to_ns = max(best.values())
        for k in range(self.inputs):
            self._forget(k, 0, bisect.bisect_right(self._stamps[k], self._used_to_ns))
        self.dropped -= len(best)  # those of the set were counted as forgotten
        return [matched]

    def _closest(self, near: dict[int, list[int]], slot: int, stamp_ns: int) -> dict[int, int] | None:
        """Of the stamps near a message one for each input, with the smallest spread; None if the slop allows no set."""
        best, best_spread_ns = None, self._slop_ns + 1
        for start_ns in sorted({s for stamps in near.values() for s in stamps if s <= stamp_ns}, reverse=True):
            if stamp_ns - start_ns >= best_spread_ns:
                break  # sets that start earlier are only wider
            picked: dict[int, int] = {}
            for k, stamps in near.items():
                at = bisect.bisect_left(stamps, start_ns)
                if at == len(stamps):
                    break
                picked[k] = stamps[at]  # the first stamp from start_ns on, so that start_ns is the oldest of the set
            else:
                spread_ns = max(picked[slot], *picked.values()) - start_ns
                if spread_ns < best_spread_ns:
                    best, best_spread_ns = picked, spread_ns
        return best
