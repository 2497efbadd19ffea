"""A fuse_node of its own process among sensors that can be switched, changed and restarted, on a clock that can be bent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from ..bags.bag import Topic
from ..bags.header_stamps import stamped
from ..errors import SentryFuseError
from ..nanoseconds import NS_PER_S
from ..replay.fault_matrix import DiagnosticRow, Stage, longest_gap_periods
from .collector import Collector
from .fault_bench import READY_TIMEOUT_S, collect_diagnostics, started
from .message_types import message_class
from .messages import to_time
from .node_process import NodeProcess
from .player import LONGEST_STEP_S
from .spin import spinning

CLOCK_PERIOD_S = 0.005  # of the wall, whatever the speed
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
LATE_S = 0.5  # a sensor that is behind by more than this, as after a jump of the clock, begins anew
Change = Callable[[bytes], bytes]


class BentClock:
    """Seconds since it was made, at a speed that may change; it may be paused (speed 0) and may jump.

    It moves with `advance` only, and then by `player.LONGEST_STEP_S` of the wall at most: where a busy machine does not let the
    sensors send, their time waits as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_s, self._since_s, self._speed = 0.0, time.monotonic(), 1.0

    def now_s(self) -> float:
        """The time [s]."""
        with self._lock:
            return self._at_s

    def advance(self) -> None:
        """Move on to now."""
        with self._lock:
            wall_s = time.monotonic()
            self._at_s += min(wall_s - self._since_s, LONGEST_STEP_S) * self._speed
            self._since_s = wall_s

    def bend(self, speed: float | None = None, jump_s: float = 0.0) -> None:
        """Run at another speed from now on, and jump by so much."""
        with self._lock:
            self._at_s += jump_s
            self._speed = self._speed if speed is None else speed


@dataclass
class Feed:
    """One sensor: a second of its messages, repeated with fresh stamps."""

    topic: Topic
    samples: Sequence[bytes]
    on: bool = True
    every: int = 1  # only every n-th message is sent
    change: Change | None = None  # made of each message, before it is stamped
    publisher: Publisher | None = None
    sent: int = 0
    due_s: float = 0.0


class Rig:
    """The node under test and its sensors. Create it with `rig`."""

    def __init__(self, node: Node, fuser: NodeProcess, feeds: Mapping[str, Feed], simulated: bool, fuse_period_s: float):
        self.node, self.fuser, self.feeds, self.fuse_period_s = node, fuser, dict(feeds), fuse_period_s
        self.clock = BentClock()
        self.clock_runs = simulated  # whether /clock is published
        self._simulated = simulated
        self.start_ns = node.get_clock().now().nanoseconds
        self.collector = Collector(node, self.start_ns)
        self.diagnostics: list[DiagnosticRow] = collect_diagnostics(node, self.start_ns)
        newest_only = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._clock_publisher = node.create_publisher(Clock, "/clock", newest_only) if simulated else None
        self._ended = threading.Event()
        self._changing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
        self._pause = threading.Event()
        for name in self.feeds:
            self.restart(name)
        self._thread.start()

    # --- sensors -----------------------------------------------------------------------------------------------

    def stop(self, name: str) -> None:
        """The driver ends."""
        with self._changing:
            publisher, self.feeds[name].publisher = self.feeds[name].publisher, None
        if publisher is not None:
            self.node.destroy_publisher(publisher)

    def restart(self, name: str, every: int = 1, qos: QoSProfile = RELIABLE, change: Change | None = None) -> None:
        """The driver ends if it runs, and starts again, perhaps changed."""
        self.stop(name)
        feed = self.feeds[name]
        publisher = self.node.create_publisher(message_class(feed.topic.msg_type), feed.topic.name, qos)
        with self._changing:
            feed.every, feed.change, feed.publisher = every, change, publisher

    def switch(self, live: Sequence[str]) -> None:
        """These sensors send, and no others."""
        with self._changing:
            for name, feed in self.feeds.items():
                feed.on = name in live

    def send(self, name: str, raw: bytes) -> None:
        """Publish one message as it is, now, on a sensor's topic."""
        with self._changing:
            publisher = self.feeds[name].publisher
            if publisher is not None:
                publisher.publish(raw)

    def now_ns(self) -> int:
        """The node clock of the node under test [ns]."""
        if self._simulated:
            return self.start_ns + int(self.clock.now_s() * NS_PER_S)
        return int(self.node.get_clock().now().nanoseconds)

    def _run(self) -> None:
        next_clock_s = 0.0
        while not self._ended.wait(0.002):
            self.clock.advance()
            if self._clock_publisher is not None and self.clock_runs and time.monotonic() >= next_clock_s:
                self._clock_publisher.publish(Clock(clock=to_time(self.now_ns())))
                next_clock_s = time.monotonic() + CLOCK_PERIOD_S
            with self._changing:
                for feed in self.feeds.values():
                    self._send_due(feed)

    def _send_due(self, feed: Feed) -> None:
        now_s = self.clock.now_s()
        if feed.publisher is None or not feed.on:
            feed.due_s = now_s
            return
        if abs(now_s - feed.due_s) > max(LATE_S, 20 / len(feed.samples)):
            feed.due_s = now_s
        while feed.due_s <= now_s:
            raw = feed.samples[feed.sent % len(feed.samples)]
            feed.sent += 1
            feed.due_s += 1.0 / len(feed.samples)
            if feed.sent % feed.every == 0:
                raw = feed.change(raw) if feed.change is not None else raw
                feed.publisher.publish(stamped(raw, self.now_ns()) if feed.topic.has_header else raw)

    # --- watching ----------------------------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        """The newest state of every sensor."""
        rows = self.collector.statuses
        return {name: status.state for name, status in rows[-1].states.items()} if rows else {}

    def live(self) -> set[str]:
        """The sensors whose newest state is OK."""
        return {name for name, state in self.states().items() if state == "OK"}

    def wait(self, seconds: float) -> None:
        """Let it run. Raises SentryFuseError if the node ends."""
        self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], bool], limit_s: float) -> float | None:
        """Wait for a condition; returns how long that took [s], None where it did not come true in time."""
        begin_s = time.monotonic()
        while time.monotonic() - begin_s < limit_s:
            if condition():
                return time.monotonic() - begin_s
            self.fuser.check()
            self.fuser.check_transitions()
            self._pause.wait(0.01)
        return None

    def all_live(self, limit_s: float = READY_TIMEOUT_S) -> float | None:
        """Wait until every sensor that sends is OK."""
        return self.until(lambda: bool(self.states()) and self.live() >= {n for n, f in self.feeds.items() if f.on}, limit_s)

    def said_since(self, index: int, part: str, words: str) -> str:
        """What diagnostics said of a part of the node, from a row on: the first text that has these words, or ""."""
        rows = self.diagnostics[index:]
        return next((row.text for row in rows if row.name.endswith(": " + part) and words in row.text), "")

    def gap_since(self, index: int, period_s: float | None = None) -> float | None:
        """Longest pause between predictions from one on, in fuse periods of the wall."""
        return longest_gap_periods(self.collector.predictions[max(0, index - 1) :], period_s or self.fuse_period_s)

    def close(self) -> None:
        """Fall silent."""
        self._ended.set()
        self._thread.join(5.0)


@contextmanager
def rig(
    stage: Stage, topics: Mapping[str, Topic], samples: Mapping[str, Sequence[bytes]], simulated: bool, fuse_period_s: float
) -> Iterator[Rig]:
    """Start node and sensors, and end them. Raises SentryFuseError if the node does not end with status 0."""
    with started(stage) as (fuser, node):
        feeds = {name: Feed(topic, samples[name]) for name, topic in topics.items()}
        with spinning(node):
            made = Rig(node, fuser, feeds, simulated, fuse_period_s)
            try:
                yield made
            finally:
                made.close()
        status = fuser.stop()
    if status != 0:
        raise SentryFuseError("fuse_node", f"exit status {status}: {fuser.last_words()}", "0")
