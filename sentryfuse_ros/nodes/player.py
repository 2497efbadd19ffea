"""Publish a recording's messages at their own pace, with /clock and a battery beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState

from ..bags.bag import Topic
from ..errors import SentryFuseError
from ..nanoseconds import NS_PER_S
from ..replay.faults import FaultScript
from ..replay.schedule import Delivery
from .message_types import message_class
from .messages import to_time
from .node_process import NodeProcess

CLOCK_PERIOD_S = 0.005
BATTERY_PERIOD_S = 0.5
SHOW_PERIOD_S = 0.125
TAIL_S = 0.3  # How long the clock runs on after the last message, so that its prediction is still collected.
READY_TIMEOUT_S = 300.0  # Loading and warming the plans takes a slow machine a minute, with torch, and a busy one several.
SETTLE_TIMEOUT_S = 3.0
HOLE_S = 30.0  # A longer silence of the recording is skipped; every sensor has long been STALE by then.
HOLE_PLAYED_S = 2.0  # How much of such a silence is played at either end.
# The recording's time never takes a longer step than this [s of the wall]. Where a busy machine lets the player wait for longer,
# that time waits too: it would otherwise leap past messages that are not sent yet, and every sensor would look silent.
LONGEST_STEP_S = 0.05


class Player:
    """Publishes deliveries, /clock, and the script's battery curve if there is one."""

    def __init__(
        self,
        node: Node,
        sensors: Mapping[str, Topic],
        extra: Iterable[Topic],
        script: FaultScript,
        start_ns: int,
        battery_topic: str = "/battery_state",
        published: Callable[[str, int, bytes], None] | None = None,
    ):
        """``sensors``: topic of each sensor; ``extra``: topics that are played as recorded; ``start_ns``: time of t = 0.

        ``published(topic, time ns, message)`` is told of every message of the recording.
        """
        self._node, self._script, self._start_ns, self._published = node, script, start_ns, published
        # Reliable and deep, because a replay that loses messages on its own would blame the fuser for it.
        deep = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        self._publishers = {
            topic.name: node.create_publisher(message_class(topic.msg_type), topic.name, deep)
            for topic in {*sensors.values(), *extra}
        }
        self._sensor_topics = [topic.name for topic in sensors.values()]
        newest_only = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._clock = node.create_publisher(Clock, "/clock", newest_only)
        self._battery = node.create_publisher(BatteryState, battery_topic, 10) if script.battery else None
        self.holes: list[tuple[float, float]] = []  # silences that were skipped, from and to [s]
        self.now_s = 0.0  # time of the recording that has been reached [s]
        self.held_up_s = 0.0  # of the wall, for how long the recording's time has waited

    @property
    def topics(self) -> tuple[str, ...]:
        """What it publishes."""
        publishers = [*self._publishers.values(), self._clock, *([self._battery] if self._battery is not None else [])]
        return tuple(publisher.topic_name for publisher in publishers)

    def wait_until_ready(self, fuser: NodeProcess, is_active: Callable[[], bool], timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the fuser is active and subscribes to every sensor. Raises SentryFuseError if it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while True:
            fuser.check()
            fuser.check_transitions()
            active = is_active()
            missing = [t for t in self._sensor_topics if self._publishers[t].get_subscription_count() == 0]
            if active and not missing:
                break
            if time.monotonic() > deadline:
                why = f"no subscription to {', '.join(missing)}" if active else "it never became active"
                raise SentryFuseError(
                    "fuse_node", f"{why}; {fuser.last_words()}", f"readiness within {timeout_s:g} s", f"see {fuser.log_path}"
                )
            pause.wait(0.02)
        # The fuser begins best effort and then follows what is offered. Subscribing anew loses what comes in between, so
        # the first message waits for that; not for ever, because a fuser told to stay best effort does not change.
        settled = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < settled and not all(map(self._heard_reliably, self._sensor_topics)):
            fuser.check()
            pause.wait(0.02)

    def _heard_reliably(self, topic: str) -> bool:
        infos = self._node.get_subscriptions_info_by_topic(topic)
        return bool(infos) and all(i.qos_profile.reliability == ReliabilityPolicy.RELIABLE for i in infos)

    def play(self, stream: Iterator[Delivery], speed: float, show: Callable[[float], None]) -> float:
        """Publish everything in time; returns the seconds of the recording that were played.

        ``show`` is called about 8 times a second with the time of the recording [s]; what it raises ends the run.
        """
        begin, self.now_s = time.monotonic(), 0.0
        next_clock_s = next_battery_s = 0.0
        next_show_s = begin
        pause = threading.Event()
        t_s = 0.0
        delivery = next(stream, None)
        last_s = 0.0  # time of the last delivery
        while True:
            now_s = (time.monotonic() - begin) * speed
            late_s = now_s - self.now_s - LONGEST_STEP_S * speed
            if late_s > 0:
                begin += late_s / speed
                self.held_up_s += late_s / speed
                now_s -= late_s
            self.now_s = now_s
            if now_s >= next_clock_s:
                self._clock.publish(Clock(clock=self._time(now_s)))
                next_clock_s = now_s + CLOCK_PERIOD_S * speed
                t_s = now_s
            if self._battery is not None and now_s >= next_battery_s:
                self._battery.publish(self._battery_message(now_s))
                next_battery_s = max(next_battery_s + BATTERY_PERIOD_S, now_s)
            if delivery is not None and delivery.t_s - last_s > HOLE_S and last_s + HOLE_PLAYED_S <= now_s:
                to_s = delivery.t_s - HOLE_PLAYED_S
                if to_s > now_s:  # the clock jumps there, as it would for a node that was suspended
                    self.holes.append((now_s, to_s))
                    begin -= (to_s - now_s) / speed
                    self.now_s = to_s
                    continue
            while delivery is not None and delivery.t_s <= now_s:
                self._publishers[delivery.topic].publish(delivery.raw)
                if self._published is not None:
                    self._published(delivery.topic, self._start_ns + int(delivery.t_s * NS_PER_S), delivery.raw)
                last_s = delivery.t_s
                delivery = next(stream, None)
            if time.monotonic() >= next_show_s:
                next_show_s += SHOW_PERIOD_S
                show(t_s)
            if delivery is None and now_s >= last_s + TAIL_S:
                return t_s
            due_s = min(
                next_clock_s,
                delivery.t_s if delivery is not None else now_s + 0.05,
                next_battery_s if self._battery is not None else now_s + 0.05,
            )
            pause.wait(max(0.0, min(0.05, (due_s - now_s) / speed)))

    def _time(self, t_s: float) -> Time:
        return to_time(self._start_ns + int(t_s * NS_PER_S))

    def _battery_message(self, t_s: float) -> BatteryState:
        message = BatteryState(
            percentage=self._script.battery_percent(t_s) / 100.0,
            present=True,
            power_supply_status=BatteryState.POWER_SUPPLY_STATUS_DISCHARGING,
        )
        message.header.stamp = self._time(t_s)
        return message
