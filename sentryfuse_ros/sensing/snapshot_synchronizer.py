"""A message_filters filter that matches messages of several topics and does not wait for a silent one.

`SnapshotSynchronizer` takes the place of ApproximateTimeSynchronizer; it needs nothing of ROS itself.
"""

from __future__ import annotations

import bisect
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ParameterError
from ..nanoseconds import NS_PER_S

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MatchedSet:
    """One matched set as one message, so that a filter that takes single messages can be connected behind."""

    header: Any  # that of the newest message in the set
    messages: tuple  # one per input, None where the input is silent


class _Silence:
    """Time that passed without a message of some input, told by the messages of the others.

    Two measures, the larger counts: the caller's clock, and the progress of stamps (a bag played faster than real
    time). One message never advances either by more than half the timeout: after a stall of the whole process the
    first message to come must not make all others look silent.
    """

    def __init__(self, inputs: int, timeout_ns: int):
        self._timeout_ns, self._step_ns = timeout_ns, max(1, timeout_ns // 2)
        self._clock = self._stamps = 0
        self._heard = [(0, 0)] * inputs
        self._first: list[int | None] = [None] * inputs  # stamp of each input at which the stamp measure was 0
        self._last_now: int | None = None

    def pass_time(self, now_ns: int) -> None:
        if self._last_now is not None:
            self._clock += min(max(0, now_ns - self._last_now), self._step_ns)
        self._last_now = now_ns

    def hear(self, slot: int, stamp_ns: int) -> None:
        first = self._first[slot]
        lead = 0 if first is None else stamp_ns - first - self._stamps
        if lead > 0:
            self._stamps += min(lead, self._step_ns)
        if first is None or lead > self._step_ns:
            self._first[slot] = stamp_ns - self._stamps
        self._heard[slot] = self._clock, self._stamps

    def jump(self, slot: int) -> None:
        self._first[slot] = None

    def live(self) -> list[bool]:
        limit = self._timeout_ns
        return [self._clock - clock <= limit and self._stamps - stamps <= limit for clock, stamps in self._heard]


class SnapshotSynchronizer:
    """Match messages of several inputs by stamp; an input that went silent is not waited for and comes as None.

    inputs: filters with ``registerCallback(cb, *args)``: message_filters' or other synchronisers.
    queue_size: messages kept per input while they wait for partners; at least rate x timeout_s loses nothing while
    an input falls silent. slop_s: greatest difference of stamps in a set [s]. timeout_s: silence after which an input
    is not waited for [s]. allow_headerless: messages without header get the time of arrival as stamp, else they are
    dropped and counted. clock_ns: arrival clock; in a node pass ``lambda: node.get_clock().now().nanoseconds``.
    on_error(exception, callback): see below. as_set: callbacks get one MatchedSet instead of one argument per input.

    One callback per set, sets in the order of their stamps, no message twice. The callbacks run without any lock,
    one set after the other, in the thread that brought the last message (a second thread leaves its set to the one
    at work). An exception in a callback goes to ``on_error`` (default: logged with traceback), then the other
    callbacks and sets follow; what on_error raises is re-raised to the caller after that. A stamp more than timeout_s
    before the newest of its input is a jump of time (a bag loop): what waited from before the jump is dropped.
    Raises ParameterError for impossible parameters.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        queue_size: int = 100,
        slop_s: float = 0.05,
        timeout_s: float = 0.5,
        *,
        allow_headerless: bool = False,
        clock_ns: Callable[[], int] = time.time_ns,
        on_error: Callable[[Exception, Callable], None] | None = None,
        as_set: bool = False,
    ):
        if queue_size < 1:
            raise ParameterError("queue_size", queue_size, "at least 1", "use rate x timeout_s of the fastest input")
        for name, value, low in (("slop_s", slop_s, 0.0), ("timeout_s", timeout_s, 1e-6)):
            if not (math.isfinite(value) and value >= low):
                raise ParameterError(name, value, f"a finite number of seconds, at least {low}", f"set {name}")
        self.queue_size, self.slop_s, self.timeout_s = int(queue_size), float(slop_s), float(timeout_s)
        self.dropped = 0  # messages that found no partner, came after their set, or had no stamp
        self._slop_ns, self._timeout_ns = round(slop_s * NS_PER_S), round(timeout_s * NS_PER_S)
        self._allow_headerless, self._clock_ns, self._as_set = allow_headerless, clock_ns, as_set
        self._on_error = on_error or _log_error
        self._warned = False
        self._lock = threading.Lock()  # guards all below; never held while a callback runs
        self._callbacks: dict[int, tuple[Callable, tuple]] = {}
        self._connections = 0
        self._outbox: deque[tuple] = deque()
        self._sending = False
        self._inputs = len(inputs)
        self._restart()
        self.input_connections = [f.registerCallback(self._receive, slot) for slot, f in enumerate(inputs)]

    # -- as message_filters has it

    def registerCallback(self, cb: Callable, *args: Any) -> int:
        """Call ``cb(*messages, *args)`` for every set; gives the id of the connection."""
        with self._lock:
            self._connections += 1
            self._callbacks[self._connections] = cb, args
            return self._connections

    def unregisterCallback(self, connection: int) -> None:
        """End a connection; an unknown id does nothing."""
        with self._lock:
            self._callbacks.pop(connection, None)

    def reset(self) -> None:
        """Forget all waiting messages and who was silent, as after a jump of time."""
        with self._lock:
            self._restart()

    def poll(self) -> None:
        """Release sets that wait for inputs silent by now; for a timer, where all inputs may fall silent at once."""
        with self._lock:
            self._silence.pass_time(self._clock_ns())
            self._release_silent()
        self._deliver()

    # -- matching; all of it under the lock

    def _restart(self) -> None:
        self._stamps: list[list[int]] = [[] for _ in range(self._inputs)]  # sorted
        self._messages: list[dict[int, Any]] = [{} for _ in range(self._inputs)]
        self._newest: list[int | None] = [None] * self._inputs
        self._past: int | None = None  # newest stamp of the last set: what is not newer comes too late
        self._silence = _Silence(self._inputs, self._timeout_ns)
        self._live = [True] * self._inputs

    def _receive(self, *message_and_slot: Any) -> None:
        *message, slot = message_and_slot
        message = message[0] if len(message) == 1 else _join(message)
        now_ns = self._clock_ns()
        stamp_ns = _stamp_ns(message)
        if stamp_ns is None and self._allow_headerless:
            stamp_ns = now_ns
        with self._lock:
            if stamp_ns is None:
                self.dropped += 1
                warn, self._warned = not self._warned, True
            else:
                warn = False
                self._match(message, slot, stamp_ns, now_ns)
        if warn:
            _log.warning(
                "input %d: %s has no header.stamp and is dropped; set allow_headerless to use its time of arrival",
                slot,
                type(message).__name__,
            )
        self._deliver()

    def _match(self, message: Any, slot: int, stamp_ns: int, now_ns: int) -> None:
        newest = self._newest[slot]
        if newest is not None and stamp_ns < newest - self._timeout_ns:
            self._jump(slot, stamp_ns)
        elif newest is None or stamp_ns > newest:
            self._newest[slot] = stamp_ns
        self._silence.pass_time(now_ns)
        self._silence.hear(slot, stamp_ns)
        if self._past is not None and stamp_ns <= self._past:
            self.dropped += 1
            self._release_silent()
            return
        if stamp_ns not in self._messages[slot]:
            bisect.insort(self._stamps[slot], stamp_ns)
        else:
            self.dropped += 1  # a second message of the same stamp takes the place of the first
        self._messages[slot][stamp_ns] = message
        self._release_silent()
        if stamp_ns in self._messages[slot]:
            self._complete(slot, stamp_ns)
        if len(self._stamps[slot]) > self.queue_size:
            del self._messages[slot][self._stamps[slot].pop(0)]
            self.dropped += 1

    def _jump(self, slot: int, stamp_ns: int) -> None:
        """Time went back to stamp_ns, first seen at this input: drop what waits from before, keep what came since."""
        limit = stamp_ns + self._timeout_ns
        for other in range(self._inputs):
            keep = bisect.bisect_right(self._stamps[other], limit)
            self._forget(other, keep, len(self._stamps[other]))
        if self._past is not None and self._past > limit:
            self._past = None
        self._newest[slot] = stamp_ns
        self._silence.jump(slot)

    def _forget(self, slot: int, start: int, stop: int) -> None:
        for stamp in self._stamps[slot][start:stop]:
            del self._messages[slot][stamp]
        del self._stamps[slot][start:stop]
        self.dropped += stop - start

    def _release_silent(self) -> None:
        """Where an input has just fallen silent, the sets that waited only for it are complete."""
        was_live, self._live = self._live, self._silence.live()
        if not any(was and not now for was, now in zip(was_live, self._live, strict=True)):
            return
        waiting = sorted((s, slot) for slot, stamps in enumerate(self._stamps) for s in stamps)
        for stamp_ns, slot in waiting:
            if stamp_ns in self._messages[slot]:
                self._complete(slot, stamp_ns)

    def _complete(self, slot: int, stamp_ns: int) -> None:
        """Send the closest set around one waiting message, when every live input has its part."""
        wanted = [k for k in range(self._inputs) if k == slot or self._live[k]]
        near = {}
        for k in wanted:
            stamps = self._stamps[k] if k != slot else [stamp_ns]
            low = bisect.bisect_left(stamps, stamp_ns - self._slop_ns)
            high = bisect.bisect_right(stamps, stamp_ns + self._slop_ns)
            if low == high:
                return
            near[k] = stamps[low:high]
        best, best_spread = None, self._slop_ns + 1
        for start in sorted({s for stamps in near.values() for s in stamps if s <= stamp_ns}, reverse=True):
            if stamp_ns - start >= best_spread:
                break  # from here on sets only get wider
            picked = {}
            for k, stamps in near.items():
                at = bisect.bisect_left(stamps, start)
                if at == len(stamps):
                    break
                picked[k] = stamps[at]  # the first from start on: start is the oldest of the set
            else:
                spread = max(picked[slot], *picked.values()) - start
                if spread < best_spread:
                    best, best_spread = picked, spread
        if best is None:
            return
        self._outbox.append(tuple(self._messages[k][best[k]] if k in best else None for k in range(self._inputs)))
        self._past = max(best.values())
        for k in range(self._inputs):
            used = bisect.bisect_right(self._stamps[k], self._past)
            self._forget(k, 0, used)
        self.dropped -= len(best)

    # -- delivery; without the lock

    def _deliver(self) -> None:
        first_error: Exception | None = None
        while True:
            with self._lock:
                if self._sending or not self._outbox:
                    break  # whoever is sending looks into the outbox again when done
                self._sending = True
                messages = self._outbox.popleft()
                callbacks = list(self._callbacks.values())
            if self._as_set:
                messages = (_join(messages),)
            try:
                for cb, args in callbacks:
                    try:
                        self._call(cb, messages, args)
                    except Exception as raised:
                        first_error = first_error or raised
            finally:
                with self._lock:
                    self._sending = False
        if first_error is not None:
            raise first_error

    def _call(self, cb: Callable, messages: tuple, args: tuple) -> None:
        try:
            cb(*messages, *args)
        except Exception as error:
            self._on_error(error, cb)


def _stamp_ns(message: Any) -> int | None:
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    if stamp is None:
        return None
    if hasattr(stamp, "nanoseconds"):  # rclpy.time.Time
        return int(stamp.nanoseconds)
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def _join(messages: Sequence[Any]) -> MatchedSet:
    stamped = [message for message in messages if _stamp_ns(message) is not None]
    newest = max(stamped, key=_stamp_ns, default=None)
    return MatchedSet(getattr(newest, "header", None), tuple(messages))


def _log_error(error: Exception, callback: Callable) -> None:
    name = getattr(callback, "__qualname__", repr(callback))
    _log.error("callback %s raised %s; the other callbacks go on", name, error, exc_info=error)
