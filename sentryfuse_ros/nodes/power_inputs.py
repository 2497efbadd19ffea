"""The topics of battery and power budget: subscriptions that hear every publisher, and what is wrong with those publishers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Float32

from ..runtime.pipeline import Pipeline
from ..settings import Settings
from .receive import other_type, reliability_of

DEPTH = 10


def pack_name(message: BatteryState) -> str:
    """What tells the packs of one topic apart; "" where the driver fills in nothing."""
    return " ".join(part for part in (message.location.strip(), message.serial_number.strip()) if part)


def is_filled(message: BatteryState) -> bool:
    """Whether a message says anything: a charge, a voltage, or at least that there is a battery."""
    return message.percentage != 0 or message.voltage > 0 or message.present


@dataclass
class _Input:
    topic: str  # as the parameter has it: the node resolves it, with its remapping, wherever it is given this name
    msg_class: type
    callback: Callable[[Any], None]
    parameter: str
    qos: QoSProfile
    subscription: Subscription
    unheard: str = ""


class PowerInputs:
    """Feeds battery and budget messages to a pipeline. ``arrival_ns``: the arrival clock now."""

    def __init__(self, node: Node, settings: Settings, pipeline: Pipeline, arrival_ns: Callable[[], int]):
        self._node, self._pipeline, self._arrival_ns = node, pipeline, arrival_ns
        self._measures_power = settings["power_measurement"] == "battery"
        self._inputs: list[_Input] = []
        self._subscribe("battery_topic", settings["battery_topic"], BatteryState, self._on_battery)
        self._subscribe("power_budget_topic", settings["power_budget_topic"], Float32, self._on_budget)

    @property
    def unheard(self) -> str:
        """Why a publisher of these topics is not heard, as of the last `follow_publishers`; "" if all are."""
        return "; ".join(item.unheard for item in self._inputs if item.unheard)

    def follow_publishers(self) -> None:
        """Subscribe reliably where every publisher offers it, and for what was said before where it is kept for latecomers.

        A best-effort subscription hears every publisher, so the node begins with that.
        """
        for item in self._inputs:
            infos = self._node.get_publishers_info_by_topic(item.topic)
            type_name = "/".join((item.msg_class.__module__.split(".")[0], "msg", item.msg_class.__name__))
            heard = [info for info in infos if info.topic_type == type_name]
            resolved = self._node.resolve_topic_name(item.topic)
            item.unheard = other_type(infos, heard, resolved, type_name, f"set {item.parameter}")
            if not heard:
                continue
            kept = all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in heard)
            qos = _qos(reliability_of(heard), DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE)
            if (qos.reliability, qos.durability) != (item.qos.reliability, item.qos.durability):
                old, item.qos = item.subscription, qos
                item.subscription = self._node.create_subscription(item.msg_class, item.topic, item.callback, qos)
                self._node.destroy_subscription(old)

    def destroy(self) -> None:
        """Drop the subscriptions."""
        for item in self._inputs:
            self._node.destroy_subscription(item.subscription)
        self._inputs.clear()

    def _subscribe(self, parameter: str, topic: str, msg_class: type, callback: Callable[[Any], None]) -> None:
        qos = _qos(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
        subscription = self._node.create_subscription(msg_class, topic, callback, qos)
        self._inputs.append(_Input(topic, msg_class, callback, parameter, qos, subscription))

    def _on_battery(self, message: BatteryState) -> None:
        charging = message.power_supply_status == BatteryState.POWER_SUPPLY_STATUS_CHARGING
        arrival_ns = self._arrival_ns()
        self._pipeline.battery(message.percentage, charging, arrival_ns, pack_name(message), is_filled(message))
        if self._measures_power and not charging:
            # Drivers disagree about the sign of the current, which is that of charging by its definition.
            self._pipeline.measured_power(abs(message.voltage * message.current), arrival_ns)

    def _on_budget(self, message: Float32) -> None:
        self._pipeline.budget(message.data)


def _qos(reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(depth=DEPTH, reliability=reliability, durability=durability)
