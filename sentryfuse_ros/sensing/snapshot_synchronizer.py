"""A message_filters filter that matches the messages of several topics and does not wait for a dead one.

`SnapshotSynchronizer` is a drop-in for message_filters' ApproximateTimeSynchronizer, explained in docs/MESSAGE_FILTERS.md. It
needs nothing of ROS itself: anything with ``registerCallback`` is an input, and messages are told apart by ``header.stamp``.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import ParameterError
from ..nanoseconds import NS_PER_S
from .set_matcher import MatchedMessages, SetMatcher

_log = logging.getLogger(__name__)


class Filter(Protocol):
    """What an input must have: the face of message_filters' SimpleFilter."""

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> Any:
        """Call ``cb(message, *args)`` for every message."""


@dataclass(frozen=True, slots=True)
class MatchedSet:
    """A matched set as one message, so that a filter for single messages can be connected to the synchroniser."""

    header: Any  # of the newest message in the set
    messages: MatchedMessages


class SnapshotSynchronizer:
    """Matches messages of several inputs by stamp. The message of an input that went silent is None.

    inputs: filters of message_filters, or other synchronisers. queue_size: messages kept per input while they wait for
    partners; rate x timeout_s of the fastest input is enough to lose nothing while another falls silent. slop_s: largest
    difference of the stamps in a set [s]. timeout_s: silence after which an input is not waited for [s]. allow_headerless: a
    message without a header is stamped with its time of arrival; otherwise it is dropped and counted. clock_ns: clock that
    measures silence [ns]; in a node pass ``lambda: node.get_clock().now().nanoseconds``. on_error(exception, callback) is
    called when a callback raises; by default the exception is logged with its traceback. as_set: callbacks get one
    MatchedSet instead of one argument per input.

    Every callback is called once per set, and sets come in the order of their stamps without using a message twice. Callbacks
    run without a lock, one set after the other, in the thread that brought the last message; a thread that completes a set
    while another delivers leaves its set to that one. If a callback raises, the other callbacks and sets still follow; an
    exception that ``on_error`` raises is raised to the caller after them. A stamp more than ``timeout_s`` before the newest of
    its input is a jump of time, such as a bag that starts again: the messages waiting from before the jump are dropped.

    Raises ParameterError for parameters that are not allowed.
    """

    def __init__(
        self,
        inputs: Sequence[Filter],
        queue_size: int = 100,
        slop_s: float = 0.05,
        timeout_s: float = 0.5,
        *,
        allow_headerless: bool = False,
        clock_ns: Callable[[], int] = time.time_ns,
        on_error: Callable[[Exception, Callable[..., None]], None] | None = None,
        as_set: bool = False,
    ):
        if queue_size < 1:
            raise ParameterError("queue_size", queue_size, "at least 1", "use rate x timeout_s of the fastest input")
        for name, value, low in (("slop_s", slop_s, 0.0), ("timeout_s", timeout_s, 1e-6)):
            if not (math.isfinite(value) and value >= low):
                raise ParameterError(name, value, f"a finite number of seconds, at least {low}", f"set {name}")
        self.queue_size, self.slop_s, self.timeout_s = int(queue_size), float(slop_s), float(timeout_s)
        self._allow_headerless, self._clock_ns, self._as_set = allow_headerless, clock_ns, as_set
        self._on_error = on_error or _log_error
        self._lock = threading.Lock()  # guards everything below; it is never held while a callback runs
        self._matcher = SetMatcher(len(inputs), self.queue_size, round(slop_s * NS_PER_S), round(timeout_s * NS_PER_S))
        self._headerless = 0  # messages dropped because they have no header
        self._callbacks: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}
        self._connections = 0
        self._outbox: deque[MatchedMessages] = deque()
        self._delivering = False
        self.input_connections = [f.registerCallback(self._receive, slot) for slot, f in enumerate(inputs)]

    # ---- the interface of message_filters ---------------------------------------------------------------------------

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:
        """Call ``cb(*messages, *args)`` for every set; returns the id of the connection."""
        with self._lock:
            self._connections += 1
            self._callbacks[self._connections] = cb, args
            return self._connections

    def unregisterCallback(self, connection: int) -> None:
        """End a connection; an unknown id is ignored."""
        with self._lock:
            self._callbacks.pop(connection, None)

    # ---- beyond it --------------------------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """Messages so far that found no partner, came after the set they belong to, or had no stamp."""
        return self._matcher.dropped + self._headerless

    @property
    def waiting(self) -> int:
        """Messages that wait for partners now."""
        return self._matcher.waiting

    def poll(self) -> None:
        """Deliver the sets that wait for inputs which are silent by now.

        Call it from a timer if all inputs may fall silent at once; otherwise the messages of the others do the same.
        """
        with self._lock:
            self._outbox += self._matcher.pass_time(self._clock_ns())
        self._deliver()

    def reset(self) -> None:
        """Forget all waiting messages and which inputs were silent, as after a jump of time."""
        with self._lock:
            self._matcher.reset()

    # ---- receiving and delivering -----------------------------------------------------------------------------------

    def _receive(self, *arguments: Any) -> None:
        """Callback of the inputs: (message, slot), or (*messages, slot) from another synchroniser."""
        *messages, slot = arguments
        message = messages[0] if len(messages) == 1 else _as_one_message(messages)
        now_ns = self._clock_ns()
        stamp_ns = _stamp_ns(message)
        if stamp_ns is None and self._allow_headerless:
            stamp_ns = now_ns
        with self._lock:
            if stamp_ns is not None:
                self._outbox += self._matcher.add(message, slot, stamp_ns, now_ns)
            else:
                self._headerless += 1
            warn = stamp_ns is None and self._headerless == 1
        if warn:
            _log.warning(
                "input %d: %s has no header.stamp and is dropped; set allow_headerless to use its time of arrival",
                slot,
                type(message).__name__,
            )
        self._deliver()

    def _deliver(self) -> None:
        first_error: Exception | None = None
        while True:
            with self._lock:
                if self._delivering or not self._outbox:
                    break  # a thread that is delivering looks into the outbox again when it is done
                self._delivering = True
                messages = self._outbox.popleft()
                callbacks = list(self._callbacks.values())
            if self._as_set:
                messages = (_as_one_message(messages),)
            try:
                for cb, args in callbacks:
                    try:
                        self._call(cb, messages, args)
                    except Exception as raised:
                        first_error = first_error or raised
            finally:
                with self._lock:
                    self._delivering = False
        if first_error is not None:
            raise first_error

    def _call(self, cb: Callable[..., None], messages: MatchedMessages, args: tuple[Any, ...]) -> None:
        try:
            cb(*messages, *args)
        except Exception as error:
            self._on_error(error, cb)


def _stamp_ns(message: Any) -> int | None:
    """Header stamp [ns] of a message, None if it has none."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    if stamp is None:
        return None
    if hasattr(stamp, "nanoseconds"):  # rclpy.time.Time
        return int(stamp.nanoseconds)
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def _as_one_message(messages: Sequence[Any]) -> MatchedSet:
    stamped = [(stamp_ns, message.header) for message in messages if (stamp_ns := _stamp_ns(message)) is not None]
    _, header = max(stamped, key=lambda entry: entry[0], default=(0, None))
    return MatchedSet(header, tuple(messages))


def _log_error(error: Exception, callback: Callable[..., None]) -> None:
    name = getattr(callback, "__qualname__", repr(callback))
    _log.error("callback %s raised %s; the other callbacks are still called", name, error, exc_info=error)
