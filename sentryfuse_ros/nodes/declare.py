"""Declare the parameters of `sentryfuse_ros.settings` on a node, with descriptions and ranges, and check every change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from ..errors import ParameterError
from ..parameter import Parameter
from ..parameters import PARAMETERS, SENSOR_PARAMETERS
from ..settings import Settings, check_instance_names, check_settings, sensor_default, unknown_names, usable_instance_names


class _Declared(NamedTuple):
    """A parameter and what its name begins with: "imu." for one of sensor imu, "" for the node's own."""

    parameter: Parameter
    prefix: str


class DeclaredParameters:
    """The node's parameters, declared. `settings` checks them together.

    ``problems`` holds, by parameter name, why a value given at start could not be declared; it is empty when all could.
    """

    def __init__(self, node: Node):
        self.node = node
        self.problems: dict[str, ParameterError] = {}
        self.overrides: dict[str, RosParameter] = dict(getattr(node, "_parameter_overrides", {}))
        self._table: dict[str, _Declared] = {}
        for parameter in PARAMETERS:
            self._declare(parameter, "", parameter.default)
        try:
            self.sensors = check_instance_names(names := node.get_parameter("sensors").value)
        except ParameterError as error:
            self.problems["sensors"] = error
            self.sensors = usable_instance_names(names)
        for sensor in self.sensors:
            self._declare_sensor(sensor)

    def _declare_sensor(self, sensor: str) -> None:
        for parameter in SENSOR_PARAMETERS:
            self._declare(parameter, sensor + ".", sensor_default(sensor, parameter))
        for name in self.overrides:
            if name.startswith(f"{sensor}.limits."):
                descriptor = ParameterDescriptor(description="Payload limit of the decoder.", dynamic_typing=True)
                self._table[name] = _Declared(Parameter(name, 0.0, ""), "")
                self.node.declare_parameter(name, descriptor=descriptor)

    def _declare(self, parameter: Parameter, prefix: str, default: Any) -> None:
        name = prefix + parameter.name
        # Types are checked here and not by rclpy, which would end the node over `10` where `10.0` is meant.
        descriptor = ParameterDescriptor(description=parameter.text, dynamic_typing=True)
        if parameter.choices:
            descriptor.additional_constraints = "one of " + ", ".join(parameter.choices)
        low, high = parameter.low, parameter.high
        if low is not None and high is not None:
            if isinstance(parameter.default, float):
                descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
            elif isinstance(parameter.default, int):
                descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
        default = list(default) if isinstance(default, tuple) else default
        self._table[name] = _Declared(parameter, prefix)
        try:
            override = self.overrides.get(name)
            if override is not None:
                parameter.check(override.value, prefix)
            self.node.declare_parameter(name, default, descriptor)
        except (ParameterError, InvalidParameterTypeException, InvalidParameterValueException) as error:
            # The node refuses at configure, not here, so that one message lists every problem.
            wrong = error if isinstance(error, ParameterError) else ParameterError(f"parameter {name}", str(error))
            self.problems[name] = wrong
            self.node.declare_parameter(name, default, descriptor, ignore_override=True)

    def warnings(self) -> list[str]:
        """One text for every parameter that was given but does not exist."""
        return unknown_names(self.overrides, self.sensors)

    def settings(self) -> tuple[Settings, list[ParameterError]]:
        """All parameters, and everything that is wrong with their values; a wrong one is replaced by its default."""
        settings, errors = check_settings({name: self.node.get_parameter(name).value for name in self._table})
        named = {problem.thing for problem in self.problems.values()}
        return settings, [*self.problems.values(), *(error for error in errors if error.thing not in named)]

    def check_change(self, changes: Sequence[RosParameter], configured: bool) -> SetParametersResult:
        """Whether the node accepts a change at run time, and if not, why. Sensors that it names for the first time get their
        parameters, with the values that were given for them at start."""
        sensors = self.sensors
        for change in changes:
            known = self._table.get(change.name)
            if known is None:
                continue
            try:
                value = known.parameter.check(change.value, known.prefix)
                if change.name == "sensors":
                    sensors = check_instance_names(value)
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if known.parameter.fixed:
                reason = f"parameter {change.name} can only be given when the node starts"
                return SetParametersResult(successful=False, reason=reason)
            if configured and not known.parameter.dynamic:
                reason = f"parameter {change.name} is read at configure; deactivate and clean up the node to change it"
                return SetParametersResult(successful=False, reason=reason)
        for change in changes:
            self.problems.pop(change.name, None)  # a valid value replaces the one that was refused
        for sensor in sensors:
            if f"{sensor}.kind" not in self._table:
                self._declare_sensor(sensor)
        self.sensors = sensors
        return SetParametersResult(successful=True)
