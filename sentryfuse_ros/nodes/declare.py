"""Declare the parameters of `sentryfuse_ros.parameters` on a node, with descriptions, ranges and clear refusals."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from ..errors import ParameterError
from ..parameters import PARAMETERS, SENSOR_PARAMETERS, Parameter
from ..settings import Settings, build_settings, check_instance_names, sensor_default, unknown_names


class DeclaredParameters:
    """The node's parameters. `settings()` checks them; `problems` holds, by name, overrides that could not be declared."""

    def __init__(self, node: Node):
        self.node = node
        self.problems: dict[str, str] = {}
        self.overrides: dict[str, RosParameter] = dict(getattr(node, "_parameter_overrides", {}))
        self._table: dict[str, tuple[Parameter, str]] = {}
        for parameter in PARAMETERS:
            self._declare(parameter, "", parameter.default)
        try:
            self.sensors = check_instance_names(node.get_parameter("sensors").value)
        except ParameterError as error:
            self.problems["sensors"] = str(error)
            self.sensors = ()
        for sensor in self.sensors:
            for parameter in SENSOR_PARAMETERS:
                self._declare(parameter, sensor + ".", sensor_default(sensor, parameter))
            for name in self.overrides:
                if name.startswith(f"{sensor}.limits."):
                    node.declare_parameter(
                        name, descriptor=ParameterDescriptor(description="Payload limit of the decoder.", dynamic_typing=True)
                    )
                    self._table[name] = (Parameter(name, 0.0, ""), "")

    def _declare(self, parameter: Parameter, prefix: str, default: Any) -> None:
        name = prefix + parameter.name
        # Typing is ours to check: rclpy would end the node over `10` where `10.0` is meant.
        descriptor = ParameterDescriptor(description=parameter.text, dynamic_typing=True)
        if parameter.choices:
            descriptor.additional_constraints = "one of " + ", ".join(parameter.choices)
        if parameter.low is not None and isinstance(parameter.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=parameter.low, to_value=parameter.high)]
        elif parameter.low is not None and isinstance(parameter.default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high), step=1)]
        default = list(default) if isinstance(default, tuple) else default
        self._table[name] = (parameter, prefix)
        try:
            override = self.overrides.get(name)
            if override is not None:
                parameter.check(override.value, prefix)
            self.node.declare_parameter(name, default, descriptor)
        except (ParameterError, InvalidParameterTypeException, InvalidParameterValueException) as error:
            # Not here but at configure is where the node refuses, with every problem said at once.
            self.problems[name] = str(error)
            self.node.declare_parameter(name, default, descriptor, ignore_override=True)

    def warnings(self) -> list[str]:
        """Texts about parameters that were given and mean nothing."""
        return unknown_names(self.overrides, self.sensors)

    def settings(self) -> Settings:
        """All parameters, checked together. Raises ParameterError."""
        if self.problems:
            raise ParameterError("; ".join(self.problems.values()))
        return build_settings({name: self.node.get_parameter(name).value for name in self._table})

    def check_change(self, changes: list[RosParameter], configured: bool) -> SetParametersResult:
        """Whether a change at run time can be, and if not, why."""
        for change in changes:
            known = self._table.get(change.name)
            if known is None:
                continue
            parameter, prefix = known
            try:
                parameter.check(change.value, prefix)
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if configured and not parameter.dynamic:
                return SetParametersResult(
                    successful=False,
                    reason=(f"parameter {change.name} is read at configure; deactivate and clean up the node to change it"),
                )
        for change in changes:
            self.problems.pop(change.name, None)  # a value that can be has come: what was wrong is mended
        return SetParametersResult(successful=True)
