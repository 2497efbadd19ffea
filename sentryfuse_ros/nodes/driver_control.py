"""Requests to the drivers of sensors: the latched topic ~/sensor_request, and lifecycle transitions of managed driver nodes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future

from ..msg import SensorRequest as SensorRequestMessage
from ..msg import SensorRequests as SensorRequestsMessage
from ..runtime.sensor_requests import SensorRequest, SensorRequests
from ..settings import SensorSettings


class _ManagedDriver:
    """One managed driver node. A transition is asked for as soon as the driver's service is there.

    A fuser that was killed may have left the driver switched off. One that is found inactive is therefore activated, but only
    ``look_after_s`` after the beginning: until then it may still be on the way up, by whoever else manages it.
    """

    def __init__(self, node: LifecycleNode, name: str, look_after_s: float):
        self._node, self._name = node, name
        self._client: Client = node.create_client(ChangeState, f"{name}/change_state")
        self._state_client: Client = node.create_client(GetState, f"{name}/get_state")
        self._look_after_s, self._look_at_s = look_after_s, math.inf
        self._looked = False
        self._wanted = True  # what it was asked last, or is to be asked
        self._pending = self._destroyed = False

    def want(self, wanted: bool) -> None:
        self._look_at_s = min(self._look_at_s, time.monotonic() + self._look_after_s)
        if wanted != self._wanted:
            self._wanted = wanted
            self._looked = self._pending = True
        self.ask()

    def ask(self) -> None:
        """Send the transition that is due, or look whether one is, if the driver can be reached."""
        if not self._looked and time.monotonic() >= self._look_at_s and self._state_client.service_is_ready():
            self._looked = True
            self._state_client.call_async(GetState.Request()).add_done_callback(self._on_state)
        if not self._pending or not self._client.service_is_ready():
            return
        self._pending = False
        request = ChangeState.Request()
        request.transition.id = Transition.TRANSITION_ACTIVATE if self._wanted else Transition.TRANSITION_DEACTIVATE
        self._client.call_async(request).add_done_callback(self._on_answer)

    def _on_state(self, future: Future) -> None:
        answer = future.result() if future.exception() is None else None
        inactive = answer is not None and answer.current_state.id == State.PRIMARY_STATE_INACTIVE
        if inactive and self._wanted and not self._destroyed:
            self._node.get_logger().warning(f"driver {self._name} is inactive although its sensor is wanted; it is activated")
            self._pending = True
            self.ask()

    def _on_answer(self, future: Future) -> None:
        answer = future.result() if future.exception() is None else None
        if answer is None or not answer.success:
            wanted = "activated" if self._wanted else "deactivated"
            self._node.get_logger().warning(f"driver {self._name} could not be {wanted}; is it in another lifecycle state?")

    def destroy(self) -> None:
        self._destroyed = True
        self._node.destroy_client(self._client)
        self._node.destroy_client(self._state_client)


class DriverControl:
    """Tells drivers what the fuser asks of them. Exists while the node is configured."""

    def __init__(self, node: LifecycleNode, sensors: Mapping[str, SensorSettings]):
        self._node = node
        self._sensors = {name: s for name, s in sensors.items() if s.may_switch_off}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        # Not a managed publisher: deactivation wakes all sensors, and says so.
        self._publisher = node.create_publisher(SensorRequestsMessage, "~/sensor_request", latched) if self._sensors else None
        self._drivers = {
            name: _ManagedDriver(node, s.driver_node, max(s.switch_off_after_s, s.wake_up_s))
            for name, s in self._sensors.items()
            if s.driver_node
        }
        self._version: int | None = None  # of the requests that were followed last
        self._said: dict[str, SensorRequest] = {}

    def follow(self, requests: SensorRequests) -> None:
        """Publish and ask what has changed. Call it at every tick."""
        if self._publisher is None:
            return
        if requests.version != self._version:
            for request in requests.requests.values():
                self._log_if_new(request)
                if request.sensor in self._drivers:
                    self._drivers[request.sensor].want(request.wanted)
            self._version, self._said = requests.version, dict(requests.requests)
            self._publisher.publish(self._message(requests))
        for driver in self._drivers.values():
            driver.ask()

    def _log_if_new(self, request: SensorRequest) -> None:
        if self._version is not None and self._said.get(request.sensor) != request:
            verb = "wanted again" if request.wanted else "not wanted"
            self._node.get_logger().info(f"{request.sensor}: {verb}, {request.reason}")

    def _message(self, requests: SensorRequests) -> SensorRequestsMessage:
        message = SensorRequestsMessage()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.requests = [
            SensorRequestMessage(
                sensor=request.sensor,
                topic=self._node.resolve_topic_name(self._sensors[request.sensor].topic),
                wanted=request.wanted,
                reason=request.reason,
            )
            for request in requests.requests.values()
        ]
        return message

    def destroy(self) -> None:
        for driver in self._drivers.values():
            driver.destroy()
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
