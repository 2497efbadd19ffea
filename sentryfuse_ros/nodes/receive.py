"""Receive sensor topics cheaply: serialised messages, taken by hand when the fuser polls.

A callback per message is what costs CPU at 400 Hz, so the subscriptions live on a node that no executor spins.
Where a build lacks the hand-taking call, ordinary callbacks fill a queue instead (docs/RECEIVE.md).
"""

from __future__ import annotations

import importlib
import time
from collections import deque

import numpy as np
import rclpy
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.validate_topic_name import validate_topic_name

from ..errors import ParameterError
from ..settings import SensorSettings


def message_class(type_name: str):
    """The Python class of e.g. `sensor_msgs/msg/Image`; raises ParameterError where it is not installed."""
    parts = type_name.split("/")
    try:
        return getattr(importlib.import_module(".".join(parts[:-1])), parts[-1])
    except (ImportError, AttributeError, ValueError) as error:
        raise ParameterError(
            "message type",
            type_name,
            "an installed one such as sensor_msgs/msg/Image",
            f"install the package {parts[0]} or change the sensor's parameter type",
        ) from error


def check_topic(parameter: str, topic: str) -> None:
    """Raises ParameterError where a parameter's value cannot be a topic."""
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        raise ParameterError(f"parameter {parameter}", repr(topic), "a topic name of letters, digits, _ and /") from error


def make_receive_node(node: Node) -> Node:
    """A companion node for subscriptions that no executor spins.

    It ignores the global arguments, or `-r __node:=name` would give both nodes one name; topics come to it resolved.
    """
    return rclpy.create_node(
        "_" + node.get_name() + "_receive",
        namespace=node.get_namespace(),
        context=node.context,
        use_global_arguments=False,
        start_parameter_services=False,
        enable_rosout=False,
    )


class TopicReceiver:
    """One sensor's subscription. `drain` gives what came since the last call, oldest first."""

    def __init__(self, node: Node, receive_node: Node, sensor: SensorSettings, mode: str = "auto"):
        self.node, self.receive_node, self.sensor = node, receive_node, sensor
        self.topic = node.resolve_topic_name(sensor.topic)
        self.msg_class = message_class(sensor.msg_type)
        self.unheard = ""  # why publishers that are there are not heard, as of the last `follow_publishers`
        self.mode = mode
        self.reliability = ReliabilityPolicy.BEST_EFFORT
        if sensor.reliability == "reliable":
            self.reliability = ReliabilityPolicy.RELIABLE
        self._queue: deque = deque(maxlen=4 * sensor.queue_depth)
        self._subscribe()

    def _subscribe(self) -> None:
        qos = QoSProfile(depth=self.sensor.queue_depth, reliability=self.reliability, durability=DurabilityPolicy.VOLATILE)
        self.by_hand = self.mode != "callback"
        owner = self.receive_node if self.by_hand else self.node
        self.subscription = owner.create_subscription(self.msg_class, self.topic, self._on_message, qos, raw=True)
        if self.by_hand and not hasattr(self.subscription.handle, "take_message"):
            owner.destroy_subscription(self.subscription)
            if self.mode == "raw":
                raise ParameterError("parameter receive", "raw", "callback or auto: this rclpy cannot take messages by hand")
            self.mode = "callback"
            self._subscribe()

    def _on_message(self, raw: bytes) -> None:
        self._queue.append((raw, time.time_ns()))

    def drain(self) -> tuple[list[bytes], np.ndarray]:
        """Serialised messages and how long ago each one arrived, int64 ns (n,)."""
        messages: list[bytes] = []
        received: list[int] = []
        if self.by_hand:
            handle, msg_type = self.subscription.handle, self.subscription.msg_type
            with handle:
                # Bounded, so that a publisher faster than we take cannot hold us here.
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
        times[times == 0] = now  # a middleware without reception stamps
        return messages, np.clip(now - times, 0, 10_000_000_000)

    def follow_publishers(self) -> bool:
        """Under `auto`: reliable when every publisher offers it, else best effort; True where the QoS changed.

        A best-effort subscription hears everyone, so it is where we start; a reliable one does not lose large
        images, but hears nothing from a best-effort publisher.
        """
        infos = self.node.get_publishers_info_by_topic(self.topic)
        heard = [i for i in infos if i.topic_type == self.sensor.msg_type]
        self.unheard = self._why_unheard(infos, heard)
        if self.sensor.reliability != "auto" or not heard:
            return False
        reliable = all(i.qos_profile.reliability == ReliabilityPolicy.RELIABLE for i in heard)
        wanted = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        if wanted == self.reliability:
            return False
        self.reliability = wanted
        old, owner = self.subscription, self.receive_node if self.by_hand else self.node
        self._subscribe()  # the new one first: a sample may come twice, which is better than none
        owner.destroy_subscription(old)
        return True

    def _why_unheard(self, infos, heard) -> str:
        name = self.sensor.name
        if infos and not heard:
            return (
                f"{infos[0].node_name} publishes {infos[0].topic_type} on {self.topic}, expected {self.sensor.msg_type}; "
                f"set {name}.type or {name}.topic"
            )
        deaf = self.sensor.reliability == "reliable"
        if deaf and heard and all(i.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for i in heard):
            return (
                f"{heard[0].node_name} publishes best effort on {self.topic}, expected reliable; set {name}.reliability to auto"
            )
        return ""

    def destroy(self) -> None:
        (self.receive_node if self.by_hand else self.node).destroy_subscription(self.subscription)
