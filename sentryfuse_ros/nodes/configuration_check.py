"""Everything that can be wrong with a configuration beyond single values, found at once and before anything subscribes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rclpy.exceptions import InvalidServiceNameException, InvalidTopicNameException
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name

from ..decoders import FieldReading, make_decoder
from ..errors import ParameterError, SentryFuseError
from ..paths import check_model_root, model_path
from ..runtime.governor_config import GovernorConfig
from ..runtime.power_rails import KINDS, power_rail
from ..sensing.liveness import LivenessConfig
from ..sensor_kinds import sensor_kind
from ..settings import SensorSettings, Settings
from .message_types import message_class, message_definition

OTHER_INPUTS = {  # parameter: message type
    "battery_topic": "sensor_msgs/msg/BatteryState",
    "power_budget_topic": "std_msgs/msg/Float32",
}


def check_configuration(node: Node, settings: Settings, roots: Sequence[Path]) -> list[SentryFuseError]:
    """One error for each mistake: model, power parameters, message types and topics, each named by its parameter.

    roots: where the model may lie (`paths.model_roots`).
    """
    errors: list[SentryFuseError] = []

    def attempt(check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except SentryFuseError as error:
            errors.append(error)

    model = attempt(model_path, settings["model"])
    if model is not None:
        attempt(check_model_root, model, roots)
    attempt(GovernorConfig.from_settings, settings)
    if settings["power_measurement"] in KINDS:
        attempt(power_rail, settings["power_measurement"], settings["power_rail"])
    inputs = [(name, settings[name], msg_type) for name, msg_type in OTHER_INPUTS.items()]
    for sensor in settings.sensors:
        attempt(_check_sensor, sensor)
        if sensor.driver_node:
            attempt(_check_driver, node, sensor)
        inputs.append((f"{sensor.name}.topic", sensor.topic, sensor.msg_type))
    taken: dict[str, tuple[str, str]] = {}  # topic: the parameter that names it, and its message type
    for parameter, topic, msg_type in inputs:
        resolved = attempt(resolve_topic, node, parameter, topic)
        other, other_type = taken.setdefault(resolved, (parameter, msg_type)) if resolved else ("", msg_type)
        if other_type != msg_type:
            errors.append(
                ParameterError(
                    f"parameter {parameter}",
                    f"{resolved}, on which {other} expects {other_type}",
                    f"a topic of its own for {msg_type}",
                )
            )
    return errors


def resolve_topic(node: Node, parameter: str, topic: str) -> str:
    """Full name of a topic, expanded and remapped. Raises ParameterError if a parameter's value is not a valid topic name."""
    try:
        resolved = node.resolve_topic_name(topic)
        validate_full_topic_name(resolved)
    except (InvalidTopicNameException, ValueError, RuntimeError) as error:
        raise ParameterError(f"parameter {parameter}", repr(topic), "a topic name of letters, digits, _ and /") from error
    return str(resolved)


def _check_driver(node: Node, sensor: SensorSettings) -> None:
    try:
        validate_full_topic_name(node.resolve_service_name(f"{sensor.driver_node}/change_state"), is_service=True)
    except (InvalidServiceNameException, ValueError, RuntimeError) as error:
        thing, expected = f"parameter {sensor.name}.driver_node", "the name of a node, of letters, digits, _ and /"
        raise ParameterError(thing, repr(sensor.driver_node), expected) from error


def _check_sensor(sensor: SensorSettings) -> None:
    """The type is held against those of the sensor's kind first, so that importing it loads no module but one of messages."""
    kind = sensor_kind(sensor.kind)
    if not sensor.msg_type:
        raise ParameterError(f"parameter {sensor.name}.type", "''", "the type of its topic, as `ros2 topic type` gives it")
    if not kind.reads(sensor.msg_type):
        raise ParameterError(
            f"parameter {sensor.name}.type",
            repr(sensor.msg_type),
            "one of " + ", ".join(kind.msg_types),
            f"or set {sensor.name}.kind, which is {kind.name}",
        )
    try:
        message_class(sensor.msg_type)
    except ParameterError as error:
        package = sensor.msg_type.partition("/")[0]
        raise ParameterError(
            f"parameter {sensor.name}.type", sensor.msg_type, "an installed message type", f"install the package {package}"
        ) from error
    try:
        LivenessConfig(**{field.name: getattr(sensor, field.name) for field in fields(LivenessConfig)})
        definition = message_definition(sensor.msg_type) if sensor.fields else None
        reading = FieldReading(sensor.fields, sensor.field_min, sensor.field_max, definition)
        make_decoder(sensor.kind, sensor.msg_type, limits=sensor.limits, reading=reading)
    except ParameterError as error:
        raise ParameterError(f"sensor {sensor.name}: {error.thing}", error.seen, error.expected, error.remedy) from error
