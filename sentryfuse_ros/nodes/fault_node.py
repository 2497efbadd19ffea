"""fault_node: breaks one topic on purpose. It stands between a sensor and the fuser of a live robot.

Remap the fuser's topic to `<topic>_faulty`, then switch faults while everything runs:

    ros2 run sentryfuse_ros fault_node --ros-args -p input:=/camera/image_raw -p type:=sensor_msgs/msg/Image
    ros2 param set /fault_node fault freeze        # none, or off, freeze, garbage, lie, delay, slow, intermittent, ...
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.timer import Timer

from ..errors import ParameterError
from ..replay.faults import FAULT_KINDS, read_fault
from ..replay.injector import Injector
from .configuration_check import resolve_topic
from .message_types import begins_with_header, message_class
from .spin import run

FLUSH_PERIOD_S = 0.005
CONNECT_PERIOD_S = 0.2
DISCOVERY_S = 2.0  # after which a publisher that is not known is worth a word
FOREVER_S = 1e9


class FaultNode(Node):
    """Forwards serialised messages from `input` to `output`, through the fault that parameter `fault` names."""

    def __init__(self) -> None:
        super().__init__("fault_node")
        self._declare_parameters()
        self._input: str = self.get_parameter("input").value
        if not self._input:
            raise ParameterError("parameter input", "nothing", "the topic to break", "add -p input:=/camera/image_raw")
        self._output: str = self.get_parameter("output").value or self._input.rstrip("/") + "_faulty"
        if resolve_topic(self, "input", self._input) == resolve_topic(self, "output", self._output):
            raise ParameterError("parameter output", repr(self._output), "a topic other than the input")
        self._waits_in_silence = True
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._begin_ns = time.monotonic_ns()
        self._injector = Injector((), self._stamp_at)
        self._set_fault({})
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._publisher = self._connect()
        self._timer = self._make_timer()

    def _declare_parameters(self) -> None:
        """Raises ParameterError for a value of another type than the default's."""
        known: list[str] = []
        kinds = "none, " + ", ".join(f"{kind} ({text})" for kind, text in FAULT_KINDS.items())
        for name, default, text in (
            ("input", "", "Topic to break."),
            ("output", "", "Topic to publish. If empty, it is the input's name with _faulty appended."),
            (
                "type",
                "",
                "Message type, e.g. sensor_msgs/msg/Image. If empty, the node waits for a publisher and uses its type.",
            ),
            ("sensor", "sensor", "Name used in the log."),
            ("fault", "none", "Fault in force: " + kinds),
            ("by_s", 0.5, "delay: how much later messages come [s]."),
            ("keep_every", 5, "slow: only every n-th message passes."),
            ("period_s", 1.0, "intermittent: length of one on and off; burst: from one to the next [s]."),
            ("on_share", 0.5, "intermittent: share of the period that is on, 0..1."),
        ):
            descriptor = ParameterDescriptor(description=text, dynamic_typing=isinstance(default, float) or name == "fault")
            try:
                self.declare_parameter(name, default, descriptor)
            except InvalidParameterTypeException as error:
                raise ParameterError(f"parameter {name}", str(error), type(default).__name__) from error
            known.append(name)
        for name in getattr(self, "_parameter_overrides", {}):  # private, as in `declare`
            if not self.has_parameter(name) and not name.startswith("qos_overrides."):
                self.get_logger().warning(f"parameter {name} is not known and ignored; known are {', '.join(known)}")

    def _make_timer(self) -> Timer:
        """Fast once connected, for faults that are due between messages; slow while waiting for a publisher."""
        return self.create_timer(FLUSH_PERIOD_S if self._publisher else CONNECT_PERIOD_S, self._tick, clock=self._steady)

    def _connect(self) -> Publisher | None:
        """Subscribe and publish with the source's type and reliability; None as long as the type is not known."""
        infos = self.get_publishers_info_by_topic(self._input)
        type_name = self.get_parameter("type").value or (infos[0].topic_type if infos else "")
        if not type_name:
            return None
        reliable = bool(infos) and all(i.qos_profile.reliability == ReliabilityPolicy.RELIABLE for i in infos)
        qos = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT)
        try:
            msg_class, has_header = message_class(type_name), begins_with_header(type_name)
        except ParameterError as error:
            if self.get_parameter("type").value:
                raise
            self.get_logger().warning(f"waiting for another publisher on {self._input}: {error}", throttle_duration_sec=10.0)
            return None
        self._injector.has_header, self._injector.msg_type = has_header, type_name
        publisher = self.create_publisher(msg_class, self._output, QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE))
        subscription = self.create_subscription(msg_class, self._input, self._on_message, qos, raw=True)
        self.get_logger().info(
            f"{subscription.topic_name} -> {publisher.topic_name} ({type_name}), fault {self.get_parameter('fault').value}"
        )
        return publisher

    # --- the fault -----------------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return (time.monotonic_ns() - self._begin_ns) * 1e-9

    def _stamp_at(self, t_s: float) -> int:
        return self.get_clock().now().nanoseconds - int((self._now_s() - t_s) * 1e9)

    def _set_fault(self, changes: Mapping[str, Any]) -> None:
        """Begin the fault that the parameters name, ``changes`` included. Raises ParameterError."""
        names = ("fault", "sensor", "by_s", "keep_every", "period_s", "on_share")
        values = {name: changes.get(name, self.get_parameter(name).value) for name in names}
        kind, now_s = values.pop("fault"), self._now_s()  # YAML 1.1 reads a bare off as false, which `read_fault` knows
        if kind is not False and kind != "none" and kind not in FAULT_KINDS:
            raise ParameterError("parameter fault", repr(kind), "none, or one of " + ", ".join(FAULT_KINDS))
        self._injector.due(now_s)
        # The numbers are checked without a fault, too: they are those of the next one.
        fault = read_fault({**values, "kind": "off" if kind == "none" else kind, "from": now_s, "to": FOREVER_S}, "parameter")
        self._injector.faults = [] if kind == "none" else [fault]

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        given = {change.name: change.value for change in changes}
        fixed = [name for name in given if name in ("input", "output", "type")]
        if fixed:
            return SetParametersResult(successful=False, reason=f"parameter {fixed[0]} is read at start only")
        try:
            self._set_fault(given)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if "fault" in given:
            self.get_logger().info(f"fault {given['fault']}")
        return SetParametersResult(successful=True)

    # --- messages ------------------------------------------------------------------------------------------

    def _on_message(self, raw: bytes) -> None:
        self._injector.feed(self._now_s(), raw)
        self._flush()

    def _tick(self) -> None:
        if self._publisher is None:
            self._publisher = self._connect()
            if self._publisher is not None:
                self.destroy_timer(self._timer)
                self._timer = self._make_timer()
            elif self._waits_in_silence and self._now_s() > DISCOVERY_S:
                self._waits_in_silence = False
                topic = resolve_topic(self, "input", self._input)
                self.get_logger().warning(f"nobody publishes on {topic} yet, and the node waits for a publisher; is input right?")
        else:
            self._flush()

    def _flush(self) -> None:
        """Publish what is due. A message that comes before `_connect` has returned waits for the next call."""
        if self._publisher is None:
            return
        for _, raw, _ in self._injector.due(self._now_s()):
            self._publisher.publish(raw)


def main(args: list[str] | None = None) -> int:
    try:
        return run(FaultNode, args)
    except ParameterError as error:
        print(f"fault_node: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
