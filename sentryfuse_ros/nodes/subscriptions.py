"""The topics of a robot's sensors: to which ones the node listens, when it looks at them, and how many messages may wait there.

A sensor that the plan in force does not use is looked at a few times a second only, and few of its messages are kept
(docs/POWER.md).
"""

from __future__ import annotations

from collections.abc import Iterator

from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from ..runtime.robot_sensors import RobotSensors
from ..sensing.rest import RESTING_DEPTH
from ..settings import Settings
from .receive import TopicReceiver


class SensorSubscriptions:
    """The receivers of the sensors that are in use, in the order of the parameter ``sensors``."""

    def __init__(self, node: LifecycleNode, receive_node: Node, settings: Settings, sensors: RobotSensors):
        """``receive_node``: for the subscriptions (`receive.make_receive_node`)."""
        self._node, self._receive_node, self._settings, self._sensors = node, receive_node, settings, sensors
        self.names = {sensor.name: node.resolve_topic_name(sensor.topic) for sensor in settings.sensors}
        self._receivers: dict[str, TopicReceiver] = {}  # none before `follow_switches`

    def __iter__(self) -> Iterator[TopicReceiver]:
        return iter(self._receivers.values())

    def follow_switches(self) -> None:
        """Subscribe to the sensors that are in use, and to no others."""
        for sensor in self._settings.sensors:
            wanted, name = not self._sensors.view(sensor.name).disabled, sensor.name
            if wanted and name not in self._receivers:
                self._receivers[name] = TopicReceiver(self._node, self._receive_node, sensor, self._settings["receive"])
            elif not wanted and name in self._receivers:
                self._receivers.pop(name).destroy()

    def is_due(self, receiver: TopicReceiver, arrival_ns: int, fuse_due: bool) -> bool:
        """Whether a poll at ``arrival_ns`` looks at a topic; ``fuse_due``: the poll is that of a tick."""
        may_rest = receiver.by_hand and not self._keeps_too_much(receiver)
        return not may_rest or self._sensors.look_due(receiver.sensor.name, arrival_ns, fuse_due)

    def any_due_by(self, arrival_ns: int) -> bool:
        """Whether some topic has to be looked at before ``arrival_ns``."""
        return any(map(self._keeps_too_much, self)) or self._sensors.look_due_by(arrival_ns)

    def _keeps_too_much(self, receiver: TopicReceiver) -> bool:
        """Whether a topic that may be left alone is still looked at, because its queue would fill up."""
        return receiver.depth > RESTING_DEPTH and self._sensors.skips_messages(receiver.sensor.name)

    def discard(self) -> None:
        """Drop all messages that wait."""
        for receiver in self:
            receiver.drain()

    def keep_all(self) -> None:
        """Let as many messages wait as the parameters say, of the sensors that no longer rest."""
        for receiver in self:
            if receiver.depth < receiver.sensor.queue_depth and not self._sensors.skips_messages(receiver.sensor.name):
                receiver.keep(receiver.sensor.queue_depth)

    def follow_publishers(self) -> None:
        """Follow the QoS of the publishers, which may come and go, and keep few messages of the sensors that rest.

        A changed QoS and publishers that are not heard are logged.
        """
        for receiver in self:
            if self._sensors.skips_messages(receiver.sensor.name):
                receiver.keep(min(RESTING_DEPTH, receiver.sensor.queue_depth))
            name, before = receiver.sensor.name, receiver.unheard
            if receiver.follow_publishers():
                self._node.get_logger().info(f"{name}: QoS now {receiver.reliability.name.lower()}, as published")
            if receiver.unheard and receiver.unheard != before:
                self._node.get_logger().warning(f"{name}: {receiver.unheard}")

    @property
    def unheard(self) -> dict[str, str]:
        """By sensor, why publishers are not heard, as of the last `follow_publishers`; "" where all is well."""
        return {name: receiver.unheard for name, receiver in self._receivers.items()}

    def describe(self) -> str:
        """Receive path and topics, for the log."""
        modes = sorted({"raw" if receiver.by_hand else "callback" for receiver in self})
        return f"receive {'/'.join(modes)}: " + ", ".join(f"{name} on {topic}" for name, topic in self.names.items())

    def destroy(self) -> None:
        """Drop the subscriptions."""
        for receiver in self:
            receiver.destroy()
