"""Every parameter once: name, default, range, meaning. The node declares them, the YAML documents them, a test compares.

ROS-free: nodes read `PARAMETERS` and `SENSOR_PARAMETERS` to declare, `replay` and the tests build a
`Settings` from the same YAML without a node.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import ParameterError

KINDS = ("camera", "imu", "audio", "lidar")
DEFAULT_TYPES = {
    "camera": "sensor_msgs/msg/Image",
    "imu": "sensor_msgs/msg/Imu",
    "audio": "sentryfuse_ros/msg/AudioChunk",
    "lidar": "sensor_msgs/msg/PointCloud2",
}
# For an instance that bears just the kind's name; any other instance's topic is its own name.
DEFAULT_TOPICS = {"camera": "camera/image_raw", "imu": "imu/data", "audio": "audio", "lidar": "lidar/points"}


@dataclass(frozen=True)
class Parameter:
    """One parameter. `low`/`high` bound numbers, `choices` bounds strings, `dynamic` may change while running."""

    name: str
    default: Any
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False

    def check(self, value: Any, prefix: str = "") -> Any:
        """The value in its type; raises ParameterError naming parameter, value and range."""
        name = prefix + self.name
        expected = type(self.default).__name__
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise ParameterError(f"parameter {name}", repr(value), "true or false")
            return value
        if isinstance(self.default, float):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ParameterError(f"parameter {name}", repr(value), "a number")
            return self._bounded(float(value), name)
        if isinstance(self.default, int):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ParameterError(f"parameter {name}", repr(value), "a whole number")
            return self._bounded(value, name)
        if isinstance(self.default, tuple):
            item = type(self.default[0]) if self.default else str
            if isinstance(value, str) or not isinstance(value, Iterable):
                raise ParameterError(f"parameter {name}", repr(value), f"a list of {item.__name__}")
            values = list(value)
            if any(isinstance(v, bool) or not isinstance(v, (int, float) if item is float else item) for v in values):
                raise ParameterError(f"parameter {name}", repr(values), f"a list of {item.__name__}")
            return tuple(self._bounded(item(v), name) if item is float else item(v) for v in values)
        if not isinstance(value, str):
            raise ParameterError(f"parameter {name}", repr(value), expected, "put quotes around it")
        if self.choices and value not in self.choices:
            raise ParameterError(f"parameter {name}", repr(value), "one of " + ", ".join(self.choices))
        return value

    def _bounded(self, value, name):
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= value <= high:  # also false for NaN
            raise ParameterError(f"parameter {name}", value, f"a value from {low:g} to {high:g}")
        return value


P = Parameter
PARAMETERS: tuple[Parameter, ...] = (
    P("model", "ground_robot", "Checkpoint: folder, .safetensors file, or name of a folder in the package's models/."),
    P("sensors", ("camera", "imu", "audio", "lidar"), "Sensor instances; each has parameters of its own below its name."),
    P("fuse_rate_hz", 10.0, "Predictions per second [Hz].", 0.2, 100.0),
    P("poll_rate_hz", 30.0, "How often messages are drained [Hz]; rounded up to a multiple of fuse_rate_hz.", 1.0, 1000.0),
    P("device", "cpu", "Where the model runs; auto takes CUDA where there is one.", choices=("cpu", "cuda", "auto")),
    P("inference_threads", 1, "CPU threads of one inference.", 1, 64),
    P("output_frame_id", "base_link", "frame_id of what is published."),
    P("autostart", True, "Configure and activate by itself at start."),
    P(
        "receive",
        "auto",
        "raw: take serialised messages by hand; callback: ordinary callbacks; auto: raw where it works.",
        choices=("auto", "raw", "callback"),
    ),
    P("diagnostics_rate_hz", 1.0, "Rate of /diagnostics [Hz].", 0.1, 10.0),
    P(
        "pruning_ratio_override",
        -1.0,
        "Fixed pruning ratio, 0 to 0.9; -1 leaves it to battery, budget and latency.",
        -1.0,
        0.9,
        dynamic=True,
    ),
    P("warm_up", True, "Build and run every plan (mask x ratio) at configure, so that no change is slow later."),
    P("battery_topic", "battery_state", "sensor_msgs/BatteryState."),
    P("power_budget_topic", "power_budget", "std_msgs/Float32, power the model may draw [W]."),
    P(
        "battery_scale",
        "auto",
        "What BatteryState.percentage counts to; auto also understands drivers that count to 100.",
        choices=("auto", "fraction", "percent"),
    ),
    P("battery_timeout_s", 30.0, "A battery silent this long is reported; its last value counts [s].", 0.1, 3600.0, dynamic=True),
    P("battery_curve_percent", (10.0, 20.0, 50.0, 80.0), "Battery levels of the curve [%].", 0.0, 100.0),
    P("battery_curve_ratio", (0.9, 0.7, 0.3, 0.0), "Pruning ratio at those levels; linear between, flat outside.", 0.0, 0.9),
    P("battery_hysteresis_percent", 3.0, "The battery must rise this far above a level's begin to end it [%].", 0.0, 20.0),
    P("battery_critical_percent", 10.0, "At or below: the highest ratio at once, dwell or not [%].", 0.0, 100.0),
    P("charging_ratio", 0.0, "Pruning ratio while the battery is charging.", 0.0, 0.9),
    P("dwell_s", 2.0, "A ratio stays at least this long [s].", 0.0, 600.0, dynamic=True),
    P("power_budget_min_w", 5.0, "Budget at which the ratio is largest [W].", 0.0, 10000.0),
    P("power_budget_max_w", 15.0, "Budget from which nothing is pruned [W].", 0.0, 10000.0),
    P(
        "latency_target_ms",
        0.0,
        "Raise the ratio while p95 inference time is over this [ms]; 0 is off.",
        0.0,
        10000.0,
        dynamic=True,
    ),
)
# Below a sensor there is also `limits.<name>`: numbers handed to the decoder (docs/LIVENESS.md lists them).
SENSOR_PARAMETERS: tuple[Parameter, ...] = (
    P("kind", "camera", "What it is.", choices=KINDS),
    P("topic", "", "Topic; empty takes the instance's name, or its usual one. Remapping and namespaces apply."),
    P("type", "", "Message type; empty takes the kind's usual one."),
    P("model_input", "", "Model input it serves; empty takes the instance's name. The first live one of several serves."),
    P("expected_rate_hz", 0.0, "Rate it should have [Hz]; 0 is measured.", 0.0, 10000.0),
    P("timeout_s", 0.0, "Silence after which it is STALE [s]; 0 is max(3 periods, 0.2).", 0.0, 3600.0),
    P("max_latency_s", 1.0, "Messages older than this on arrival are LATE [s].", 0.001, 3600.0),
    P("future_tolerance_s", 0.2, "Stamps further ahead of the node's clock than this are invalid [s].", 0.0, 3600.0),
    P("backward_tolerance_s", 0.05, "Stamps further behind the newest than this are invalid [s].", 0.0, 3600.0),
    P("trust_stamps", True, "false: ignore the header stamps and use arrival times (unstamped drivers)."),
    P("frozen_samples", 10, "Equal payloads in a row that mean FROZEN; 0 never.", 0, 10000),
    P("invalid_samples", 3, "Bad messages in a row that mean INVALID.", 1, 10000),
    P("good_samples", 3, "Good messages in a row that bring it back to OK.", 1, 10000),
    P("grace_s", 5.0, "A sensor never seen is no alarm before this [s].", 0.0, 3600.0),
    P("required", False, "true: an alarm when it is not OK, also when it was never seen."),
    P(
        "reliability",
        "auto",
        "QoS: auto follows the publishers, reliable only where all of them offer it.",
        choices=("auto", "reliable", "best_effort"),
    ),
    P("queue_depth", 0, "QoS depth; 0 takes the kind's (imu 200, audio 50, camera and lidar 10).", 0, 10000),
)
del P
QUEUE_DEPTHS = {"camera": 10, "imu": 200, "audio": 50, "lidar": 10}


@dataclass(frozen=True)
class SensorSettings:
    """Checked parameters of one sensor instance; `values` by the names of SENSOR_PARAMETERS."""

    name: str
    kind: str
    topic: str
    msg_type: str
    model_input: str
    queue_depth: int
    limits: dict[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """Checked parameters; `values` by the names of PARAMETERS."""

    sensors: tuple[SensorSettings, ...]
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def sensor_default(instance: str, parameter: Parameter) -> Any:
    """Default of a sensor parameter; an instance named after a kind (`imu`, `front_camera`) has that kind."""
    if parameter.name == "kind":
        return next((kind for kind in KINDS if kind in instance.lower()), parameter.default)
    return parameter.default


def check_instance_names(names: Iterable[str]) -> tuple[str, ...]:
    names = tuple(names)
    taken = {p.name for p in PARAMETERS}
    if not names:
        raise ParameterError("parameter sensors", "an empty list", "at least one sensor instance")
    for name in names:
        if not name.isidentifier() or name in taken:
            raise ParameterError("parameter sensors", repr(name), "names of letters, digits and _ that are no parameter's")
    if len(set(names)) != len(names):
        raise ParameterError("parameter sensors", list(names), "each name once")
    return names


def build_settings(flat: Mapping[str, Any]) -> Settings:
    """Settings from flat names (`fuse_rate_hz`, `imu.topic`); absent ones take their default.

    Raises ParameterError for the first value that cannot be.
    """
    values = {p.name: p.check(flat.get(p.name, p.default)) for p in PARAMETERS}
    names = check_instance_names(values["sensors"])
    sensors = []
    for name in names:
        own = {p.name: p.check(flat.get(f"{name}.{p.name}", sensor_default(name, p)), name + ".") for p in SENSOR_PARAMETERS}
        start = f"{name}.limits."
        limits = {key[len(start) :]: value for key, value in flat.items() if key.startswith(start)}
        for key, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ParameterError(f"parameter {start}{key}", repr(value), "a number")
        sensors.append(
            SensorSettings(
                name,
                own["kind"],
                own["topic"] or DEFAULT_TOPICS.get(name, name),
                own["type"] or DEFAULT_TYPES[own["kind"]],
                own["model_input"] or name,
                own["queue_depth"] or QUEUE_DEPTHS[own["kind"]],
                limits,
                own,
            )
        )
    return Settings(tuple(sensors), values)


def unknown_names(names: Iterable[str], sensors: Iterable[str]) -> list[str]:
    """One warning text per name that no parameter has, with the closest one that exists."""
    sensors = tuple(sensors)
    known = {p.name for p in PARAMETERS} | {f"{s}.{p.name}" for s in sensors for p in SENSOR_PARAMETERS}
    known |= {"use_sim_time", "start_type_description_service"}
    texts = []
    for name in sorted(names):
        sensor, _, rest = name.partition(".")
        if name in known or name.startswith("qos_overrides.") or (sensor in sensors and rest.startswith("limits.")):
            continue
        close = difflib.get_close_matches(name, known, 1)
        texts.append(f"parameter {name} is not known and ignored" + (f"; did you mean {close[0]}?" if close else ""))
    return texts


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested YAML to flat parameter names."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Flat parameters of a ROS 2 parameter file (`/**: ros__parameters:` or a node's name); later blocks win."""
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ParameterError(f"parameter file {path}", error.strerror, "a readable YAML file") from error
    except yaml.YAMLError as error:
        raise ParameterError(f"parameter file {path}", str(error).split("\n")[0], "valid YAML") from error
    flat: dict[str, Any] = {}
    for node, block in (tree or {}).items():
        if not isinstance(block, Mapping) or "ros__parameters" not in block:
            raise ParameterError(
                f"parameter file {path}",
                f"{node} without ros__parameters",
                "a ROS 2 parameter file",
                "begin with '/**:' and 'ros__parameters:' below it",
            )
        flat.update(flatten(block["ros__parameters"] or {}))
    return flat
