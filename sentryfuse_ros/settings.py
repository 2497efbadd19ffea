"""Checked settings of the fuser, built from the values of the parameters.

Nothing here needs ROS: the node passes the values of its parameters, while `sentryfuse replay`, the data set builder and the
tests read the same YAML file without a node.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import ParameterError, raise_all
from .files import write_atomically
from .parameter import Parameter
from .parameter_blocks import PARAMETERS_KEY, blocks, matches
from .parameters import PARAMETERS, SENSOR_PARAMETERS
from .sensor_kinds import sensor_kind, sensor_kinds
from .yaml_files import load_yaml

NODE = "fuse_node"  # name of the node that the parameters are for


@dataclass(frozen=True)
class SensorSettings:
    """Checked parameters of one sensor instance, named as in SENSOR_PARAMETERS and with their defaults filled in."""

    name: str
    kind: str
    topic: str
    msg_type: str  # parameter `type`
    fields: tuple[str, ...]
    field_min: tuple[float, ...]
    field_max: tuple[float, ...]
    model_input: str
    part: int  # place among the sensors that make up the model input together, from 1; 0: the sensor serves all of it
    queue_depth: int
    motion_sensor: str  # an IMU or odometry of the body of this camera; "" where none is named
    expected_rate_hz: float
    timeout_s: float
    max_latency_s: float
    future_tolerance_s: float
    backward_tolerance_s: float
    trust_stamps: bool
    frozen_samples: int
    invalid_samples: int
    good_samples: int
    grace_s: float
    required: bool
    reliability: str
    trust: str
    may_switch_off: bool
    driver_node: str
    wake_up_s: float
    switch_off_after_s: float
    limits: Mapping[str, float]  # payload limits of the decoder that differ from its defaults

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Settings:
    """Checked parameters of the fuser. ``settings["fuse_rate_hz"]`` gives the value of one of PARAMETERS."""

    sensors: tuple[SensorSettings, ...]
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def sensor_default(instance: str, parameter: Parameter) -> Any:
    """Default of a sensor parameter. An instance named after a kind, such as `imu` or `front_camera`, has that kind."""
    if parameter.name == "kind":
        return next((kind.name for kind in sensor_kinds() if kind.receivable and kind.implied_by(instance)), parameter.default)
    return parameter.default


def check_instance_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names of the sensor instances; raises ParameterError where there are none, or one cannot name a parameter block."""
    names = tuple(names)
    if not names:
        raise ParameterError("parameter sensors", "an empty list", "at least one sensor instance")
    for name in names:
        if not _names_a_block(name):
            allowed = "names of ASCII letters, digits and _ that begin with a letter and are not the name of a parameter"
            raise ParameterError("parameter sensors", repr(name), allowed)
    if len(set(names)) != len(names):
        raise ParameterError("parameter sensors", list(names), "each name once")
    return names


def usable_instance_names(names: Iterable[Any]) -> tuple[str, ...]:
    """Those that can name a parameter block, each once: what can be checked of a list that `check_instance_names` refuses."""
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and _names_a_block(name)))


def _names_a_block(name: str) -> bool:
    return name.isascii() and name.isidentifier() and name not in {p.name for p in PARAMETERS}


def build_settings(flat: Mapping[str, Any]) -> Settings:
    """Settings from flat names such as `fuse_rate_hz` and `imu.topic`; parameters that are not given have their defaults.

    Raises ParameterError, or SeveralParameterErrors where more than one value is not allowed.
    """
    settings, errors = check_settings(flat)
    raise_all(errors)
    return settings


def check_settings(flat: Mapping[str, Any]) -> tuple[Settings, list[ParameterError]]:
    """Settings, and every value that is not allowed. Such a value is replaced by its default, so that the rest can be checked."""
    errors: list[ParameterError] = []

    def checked(parameter: Parameter, name: str, default: Any, prefix: str = "") -> Any:
        try:
            return parameter.check(flat.get(name, default), prefix)
        except ParameterError as error:
            errors.append(error)
            return parameter.check(default, prefix)

    values = {p.name: checked(p, p.name, p.default) for p in PARAMETERS}
    try:
        names = check_instance_names(values["sensors"])
    except ParameterError as error:
        errors.append(error)
        names = usable_instance_names(values["sensors"])
    sensors = []
    for name in names:
        own = {p.name: checked(p, f"{name}.{p.name}", sensor_default(name, p), name + ".") for p in SENSOR_PARAMETERS}
        sensors.append(_sensor_settings(name, own, _limits(name, flat, errors)))
    errors += _wrong_parts(sensors)
    moving = [s.name for s in sensors if any(sensor_kind(s.kind).motion_columns(s.fields))]
    for s in sensors:
        if s.motion_sensor and s.motion_sensor not in moving:
            known = f": {', '.join(moving)}" if moving else ", and there is none among the sensors"
            expected = f"the name of an IMU, or of a series with fields of a twist{known}"
            errors.append(ParameterError(f"parameter {s.name}.motion_sensor", repr(s.motion_sensor), expected))
    return Settings(tuple(sensors), values), errors


def _sensor_settings(name: str, own: dict[str, Any], limits: dict[str, float]) -> SensorSettings:
    kind = sensor_kind(own["kind"])
    own["msg_type"] = own.pop("type") or kind.default_msg_type
    own["topic"] = own["topic"] or (kind.default_topic if name == kind.name else "") or name
    own["model_input"] = own["model_input"] or name
    own["queue_depth"] = own["queue_depth"] or kind.queue_depth
    return SensorSettings(name=name, limits=limits, **own)


def _wrong_parts(sensors: Sequence[SensorSettings]) -> list[ParameterError]:
    """What is wrong with the parts that sensors are of model inputs."""
    errors = []
    for sensor in sensors:
        own = [s for s in sensors if s.model_input == sensor.model_input]
        name, others = f"parameter {sensor.name}.part", ", ".join(f"{s.name} {s.part}" for s in own)
        if sensor.part and not sensor_kind(sensor.kind).field_decoder:
            errors.append(ParameterError(name, f"{sensor.part} of kind {sensor.kind}", "0", "only sensors with fields are parts"))
        elif any(s.part for s in own) and sorted(s.part for s in own) != list(range(1, len(own) + 1)) and sensor == own[0]:
            expected = f"1 to {len(own)} for the sensors of the model input {sensor.model_input}, each once, or 0 for all"
            errors.append(ParameterError(name, others, expected))
    return errors


def _limits(sensor: str, flat: Mapping[str, Any], errors: list[ParameterError]) -> dict[str, float]:
    start = f"{sensor}.limits."
    limits = {}
    for key in (key for key in flat if key.startswith(start)):
        try:
            limits[key[len(start) :]] = Parameter(key, 0.0, "").check(flat[key])
        except ParameterError as error:
            errors.append(error)
    return limits


def named_topics(flat: Mapping[str, Any]) -> frozenset[str]:
    """The sensors whose topic the parameters name, and `battery` if they name that of the battery."""
    names = {key.removesuffix(".topic") for key, value in flat.items() if key.endswith(".topic") and value}
    return frozenset(names | ({"battery"} if flat.get("battery_topic") else set()))


def unknown_names(names: Iterable[str], sensors: Iterable[str]) -> list[str]:
    """A warning for every name that is no parameter, with the closest name that is one."""
    sensors = tuple(sensors)
    known = {p.name for p in PARAMETERS} | {f"{s}.{p.name}" for s in sensors for p in SENSOR_PARAMETERS}
    known |= {"use_sim_time", "start_type_description_service"}
    texts = []
    for name in sorted(names):
        sensor, _, rest = name.partition(".")
        if name in known or name.startswith("qos_overrides.") or (sensor in sensors and rest.startswith("limits.")):
            continue
        if name in sensors:
            texts.append(f"parameter {name} is a sensor, which has no value of its own; did you mean {name}.topic?")
            continue
        close = difflib.get_close_matches(name, known, 1)
        texts.append(f"parameter {name} is not known and ignored" + (f"; did you mean {close[0]}?" if close else ""))
    return texts


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested YAML -> flat parameter names, joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


class _Dumper(yaml.SafeDumper):
    """Quotes every text: ROS 2 takes a bare y or n for a truth value, and a bare 1e3 for a number, unlike PyYAML."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')


_Dumper.add_representer(str, _Dumper.represent_str)


def text_argument(name: str, value: str) -> str:
    """What follows ``-p`` on the command line of a node to give it a text: quoted, because ROS 2 reads the value as YAML, in
    which ``#`` behind a space begins a comment."""
    return f"{name}:={json.dumps(value, ensure_ascii=False)}"


def write_yaml(path: Path, flat: Mapping[str, Any]) -> None:
    """Write flat parameters as a parameter file for every node, which `read_yaml` and ROS 2 read alike. Raises OSError."""
    text = yaml.dump({"/**": {PARAMETERS_KEY: dict(flat)}}, Dumper=_Dumper, allow_unicode=True, sort_keys=False)
    write_atomically(path, text)


def read_yaml(path: str | Path, node: str = "") -> dict[str, Any]:
    """Flat parameters of a ROS 2 parameter file: of its blocks for a fuse_node in any namespace, or for all nodes (`/**:`).

    Where there is no such block, as for a node with another name, all blocks count. A later block overrides an earlier one.
    ``node``: full name of a node, such as `/front/fuse_node`, for which only its own blocks count, as when it starts.
    Raises ParameterError where the file cannot be read or is no parameter file, or has no block for ``node``.
    """
    tree = load_yaml(path, "parameter file")
    thing, expected = f"parameter file {path}", "a ROS 2 parameter file"
    begin = f"begin with '/**:' and '{PARAMETERS_KEY}:' below it"
    if not isinstance(tree, Mapping):
        raise ParameterError(thing, "an empty file" if tree is None else type(tree).__name__, expected, begin)
    for name, block in tree.items():
        if not any(blocks({name: block})):
            raise ParameterError(thing, f"{name} without {PARAMETERS_KEY}", expected, begin)
    found = list(blocks(tree))
    for name, parameters in found:
        if not (parameters is None or isinstance(parameters, Mapping)):
            raise ParameterError(thing, f"{type(parameters).__name__} below {name}", "a line NAME: VALUE for each parameter")
    if node:
        own = [parameters for name, parameters in found if matches(name, node)]
        if not own:
            seen = f"blocks for {', '.join(name for name, _ in found)}"
            raise ParameterError(thing, seen, f"one for {node} or /**", "give the node's name and namespace, or rename the block")
    else:
        own = [parameters for name, parameters in found if matches(name.rsplit("/", 1)[-1], f"/{NODE}")]
    flat: dict[str, Any] = {}
    for parameters in own or [parameters for _, parameters in found]:
        flat.update(flatten(parameters or {}))
    return flat
