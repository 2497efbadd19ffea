"""Applying faults to the serialised messages of one sensor.

The same injector serves `sentryfuse replay` (on the recording's time) and `fault_node` (live, between a sensor and the fuser).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

from ..bags.header_stamps import stamped
from .faults import InjectedFault
from .lies import told


class Due(NamedTuple):
    """A message to deliver at t_s; ``sound`` if no fault touched it."""

    t_s: float
    raw: bytes
    sound: bool


class Injector:
    """Applies the faults of one sensor to its messages. Times are seconds on one clock that never goes back.

    `feed` takes a message; `due(t)` returns all messages that should be delivered up to t, in order.
    ``stamp_at`` turns a time [s] into a header stamp [ns] for the messages that a frozen driver repeats; without ``has_header``
    they are repeated as they are. ``msg_type`` decides how a sensor lies.
    """

    def __init__(
        self,
        faults: Sequence[InjectedFault],
        stamp_at: Callable[[float], int],
        period_s: float = 0.0,
        seed: int = 0,
        has_header: bool = True,
        msg_type: str = "",
    ):
        self.faults = sorted(faults, key=lambda f: f.from_s)
        self._stamp_at = stamp_at
        self.has_header, self.msg_type = has_header, msg_type
        self._random = random.Random(seed)
        self._order = count()
        self._waiting: list[tuple[float, int, bytes, bool]] = []
        self._last: bytes | None = None
        self._last_t: float | None = None
        self._period_s = period_s  # 0: not yet measured from the messages before the fault
        self._repeated_to_s = -math.inf  # when a frozen driver last repeated itself
        self._thinned = 0
        self._garbled = 0

    def fault_at(self, t_s: float) -> InjectedFault | None:
        """The fault that is active at a time, or None."""
        return next((f for f in self.faults if f.active(t_s)), None)

    def _push(self, t_s: float, raw: bytes, sound: bool = False) -> None:
        heapq.heappush(self._waiting, (t_s, next(self._order), raw, sound))

    def feed(self, t_s: float, raw: bytes) -> None:
        """Take one message that the sensor sent at t_s."""
        self._advance(t_s)
        fault = self.fault_at(t_s)
        if fault is None:
            if self._last_t is not None and 0 < t_s - self._last_t:
                step = t_s - self._last_t
                self._period_s = step if not self._period_s else min(self._period_s * 1.5, 0.9 * self._period_s + 0.1 * step)
            self._last, self._last_t = raw, t_s
            self._push(t_s, raw, sound=True)
        elif fault.kind == "garbage":
            self._garbled += 1
            self._push(t_s, self._garble(raw))
        elif fault.kind == "lie":
            self._push(t_s, told(self.msg_type, raw, self._random))
        elif fault.kind == "corrupt":
            self._push(t_s, self._corrupt(raw))
        elif fault.kind == "burst":
            passed = (t_s - fault.from_s) // fault.period_s
            self._push(max(t_s, min(fault.from_s + (passed + 1) * fault.period_s, fault.to_s)), raw)
        elif fault.kind == "delay":
            self._push(t_s + fault.by_s, raw)
        elif fault.kind == "slow":
            self._thinned += 1
            if self._thinned % fault.keep_every == 0:
                self._push(t_s, raw)
        elif fault.kind == "intermittent" and (t_s - fault.from_s) % fault.period_s < fault.on_share * fault.period_s:
            self._push(t_s, raw)

    def _garble(self, raw: bytes) -> bytes:
        head = min(len(raw), 12)  # the encapsulation header and the stamp stay intact, only the payload is damaged
        broken = raw[:head] + self._random.randbytes(len(raw) - head)
        return broken[: max(head, len(broken) // 2)] if self._garbled % 4 == 0 else broken

    def _corrupt(self, raw: bytes) -> bytes:
        data = bytearray(raw)
        for _ in range(self._random.randint(1, 3) if len(data) > 12 else 0):
            data[self._random.randrange(12, len(data))] = self._random.randrange(256)
        return bytes(data)

    def _advance(self, t_s: float) -> None:
        """Schedule what a frozen driver repeats up to t_s."""
        for fault in self.faults:
            if fault.kind != "freeze" or t_s < fault.from_s or fault.to_s <= self._repeated_to_s:
                continue
            if self._last is None or self._last_t is None or not self._period_s:
                continue  # there is nothing to repeat yet
            end_s = min(t_s, fault.to_s)
            due_s = max(fault.from_s, self._last_t + self._period_s, self._repeated_to_s + self._period_s)
            while due_s <= end_s and due_s < fault.to_s:
                self._push(due_s, stamped(self._last, self._stamp_at(due_s)) if self.has_header else self._last)
                self._repeated_to_s = due_s
                due_s += self._period_s

    def due(self, t_s: float) -> list[Due]:
        """The messages to deliver up to t_s, the oldest first."""
        self._advance(t_s)
        out = []
        while self._waiting and self._waiting[0][0] <= t_s:
            when, _, raw, sound = heapq.heappop(self._waiting)
            out.append(Due(when, raw, sound))
        return out
