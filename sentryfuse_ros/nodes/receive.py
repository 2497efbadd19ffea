"""Receive sensor topics at little cost: serialised messages, taken when the fuser polls.

At 400 Hz the callback for each message is what costs CPU. Therefore the subscriptions belong to a node that no executor
spins, and messages are taken by hand. If this rclpy lacks that call, ordinary callbacks fill a queue (docs/RECEIVE.md).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from ..errors import ParameterError
from ..settings import SensorSettings
from .message_types import message_class


def make_receive_node(node: Node) -> Node:
    """A companion node for the subscriptions, which no executor spins.

    It ignores the global arguments, because `-r __node:=name` would give both nodes the same name. Its topics are resolved
    by the main node.
    """
    return rclpy.create_node(
        "_" + node.get_name() + "_receive",
        namespace=node.get_namespace(),
        context=node.context,
        use_global_arguments=False,
        start_parameter_services=False,
        enable_rosout=False,
    )


def reliability_of(infos: Sequence[TopicEndpointInfo]) -> ReliabilityPolicy:
    """The best reliability that a subscription can ask for and still hear all of these publishers."""
    reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in infos)
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


def other_type(
    infos: Sequence[TopicEndpointInfo], heard: Sequence[TopicEndpointInfo], topic: str, expected: str, remedy: str
) -> str:
    """What is wrong where a topic has publishers but none of the type that is expected; "" where one has it."""
    if not infos or heard:
        return ""
    return f"{infos[0].node_name} publishes {infos[0].topic_type} on {topic}, expected {expected}; {remedy}"


class _Received(NamedTuple):
    raw: bytes
    at_ns: int  # system clock


class TopicReceiver:
    """One sensor's subscription. `drain` returns what has come since the last call, oldest first."""

    def __init__(self, node: Node, receive_node: Node, sensor: SensorSettings, mode: str = "auto"):
        """``mode``: "raw" takes messages by hand, "callback" uses callbacks, "auto" chooses. Raises ParameterError."""
        self.node, self.receive_node, self.sensor = node, receive_node, sensor
        self.topic = node.resolve_topic_name(sensor.topic)  # with the remapping, which the main node would apply once more to it
        self.msg_class = message_class(sensor.msg_type)
        # Why existing publishers are not heard, or that several are, as of the last `follow_publishers`; "" if all is well.
        self.unheard = ""
        self.mode = mode
        self.reliability = ReliabilityPolicy.BEST_EFFORT
        if sensor.reliability == "reliable":
            self.reliability = ReliabilityPolicy.RELIABLE
        self.depth = sensor.queue_depth
        self._queue: deque[_Received] = deque(maxlen=4 * sensor.queue_depth)
        self._subscribe()

    def _subscribe(self) -> None:
        qos = QoSProfile(depth=self.depth, reliability=self.reliability, durability=DurabilityPolicy.VOLATILE)
        self.by_hand = self.mode != "callback"
        owner, topic = (self.receive_node, self.topic) if self.by_hand else (self.node, self.sensor.topic)
        self.subscription = owner.create_subscription(self.msg_class, topic, self._on_message, qos, raw=True)
        if self.by_hand and not hasattr(self.subscription.handle, "take_message"):
            owner.destroy_subscription(self.subscription)
            if self.mode == "raw":
                raise ParameterError("parameter receive", "raw", "callback or auto", "this rclpy cannot take messages by hand")
            self.mode = "callback"
            self._subscribe()

    def _on_message(self, raw: bytes) -> None:
        self._queue.append(_Received(raw, time.time_ns()))

    def drain(self) -> tuple[list[bytes], np.ndarray]:
        """Serialised messages, and how long ago each one arrived: int64 (n,) [ns]."""
        messages: list[bytes] = []
        received: list[int] = []
        if self.by_hand:
            handle, msg_type = self.subscription.handle, self.subscription.msg_type
            with handle:
                # Bounded, so that a publisher that is faster than this loop cannot keep it here.
                for _ in range(4 * self.sensor.queue_depth):
                    taken = handle.take_message(msg_type, True)
                    if taken is None:
                        break
                    messages.append(taken[0])
                    received.append(taken[1]["received_timestamp"])
        else:
            while self._queue:
                raw, when = self._queue.popleft()
                messages.append(raw)
                received.append(when)
        if not messages:
            return messages, np.empty(0, np.int64)
        now = time.time_ns()
        times = np.array(received, np.int64)
        times[times == 0] = now  # the middleware gives no reception stamps
        return messages, np.clip(now - times, 0, 10_000_000_000)

    def keep(self, depth: int) -> None:
        """Change how many messages wait to be taken. A large message that is overwritten before anybody takes it costs half of
        one that is taken, even if nothing is done with it."""
        if self.by_hand and depth != self.depth:
            self.depth = depth
            self._resubscribe()

    def follow_publishers(self) -> bool:
        """Under `auto`: subscribe reliably if every publisher offers it, else best effort. Returns whether that changed.

        A best-effort subscription hears every publisher, so the receiver starts with it. A reliable one does not lose
        large images, but hears nothing from a best-effort publisher.
        """
        infos = self.receive_node.get_publishers_info_by_topic(self.topic)
        heard = [i for i in infos if i.topic_type == self.sensor.msg_type]
        self.unheard = self._why_unheard(infos, heard)
        if len(heard) > 1:
            names = ", ".join(sorted(i.node_name for i in heard))
            several = f"{len(heard)} publishers on {self.topic}, whose messages mix: {names}"
            self.unheard = f"{self.unheard}; {several}" if self.unheard else several
        if self.sensor.reliability != "auto" or not heard:
            return False
        wanted = reliability_of(heard)
        if wanted == self.reliability:
            return False
        self.reliability = wanted
        self._resubscribe()
        return True

    def _resubscribe(self) -> None:
        old, owner = self.subscription, self.receive_node if self.by_hand else self.node
        self._subscribe()  # before the old one goes: a sample may come twice, which is better than not at all
        owner.destroy_subscription(old)

    def _why_unheard(self, infos: Sequence[TopicEndpointInfo], heard: Sequence[TopicEndpointInfo]) -> str:
        name = self.sensor.name
        wrong = other_type(infos, heard, self.topic, self.sensor.msg_type, f"set {name}.type or {name}.topic")
        if wrong:
            return wrong
        if self.sensor.reliability == "reliable":  # such a subscription hears no best-effort publisher
            other = next((i for i in heard if i.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT), None)
            if other is not None:
                return (
                    f"{other.node_name} publishes best effort on {self.topic}, expected reliable; set {name}.reliability to auto"
                )
        return ""

    def destroy(self) -> None:
        """Drop the subscription."""
        (self.receive_node if self.by_hand else self.node).destroy_subscription(self.subscription)
