"""The load that whole nodes are measured on: messages of usual sizes at usual rates, for any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind

RATES_HZ = {"camera": 30.0, "lidar": 10.0, "imu": 400.0, "audio": 50.0}
SIZES = {"camera": "640x480 pixels", "lidar": "65000 points", "imu": "one sample", "audio": "20 ms at 16 kHz"}
FUSE_RATE_HZ = 10.0


class Stream(NamedTuple):
    """One topic of the load, which serves one model input."""

    name: str  # of the sensor instance and of the model input
    kind: str
    encoding: str  # of the model input; for cameras: rgb, mono or depth_m

    @property
    def topic(self) -> str:
        """Where it is published."""
        return f"/bench/{self.name}"

    @property
    def msg_type(self) -> str:
        """Message type, such as sensor_msgs/msg/Image."""
        return sensor_kind(self.kind).default_msg_type

    @property
    def rate_hz(self) -> float:
        """Messages per second."""
        return RATES_HZ[self.kind]


def streams_for(specs: Sequence[ModalitySpec]) -> tuple[Stream, ...]:
    """One stream for each model input of a kind that the load has; others count as absent."""
    return tuple(Stream(s.name, s.kind, s.encoding) for s in specs if s.kind in RATES_HZ)


def sensor_parameters(streams: Sequence[Stream]) -> dict[str, str | float | list[str]]:
    """Parameters of fuse_node that make it receive the streams and nothing else."""
    values: dict[str, str | float | list[str]] = {"sensors": [s.name for s in streams], "fuse_rate_hz": FUSE_RATE_HZ}
    for s in streams:
        values |= {f"{s.name}.kind": s.kind, f"{s.name}.topic": s.topic, f"{s.name}.model_input": s.name}
        values[f"{s.name}.trust"] = "warn"  # random contents are implausible: they are judged, and used all the same
    return values


def message_fields(stream: Stream, rng: np.random.Generator) -> dict[str, Any]:
    """Random contents of one message: value of each field, whose name has dots where it is nested. A list holds the
    PointFields of a cloud, as records."""
    if stream.kind == "camera":
        formats: dict[str, tuple[str, type, int]] = {"depth_m": ("16UC1", np.uint16, 1), "mono": ("mono8", np.uint8, 1)}
        encoding, dtype, channels = formats.get(stream.encoding, ("rgb8", np.uint8, 3))
        pixels = rng.integers(0, 255, 640 * 480 * channels, dtype)
        step = 640 * channels * pixels.itemsize
        return {"height": 480, "width": 640, "encoding": encoding, "step": step, "data": pixels.tobytes()}
    if stream.kind == "lidar":
        float32 = 7  # sensor_msgs/PointField.FLOAT32
        names = ("x", "y", "z", "intensity")
        fields = [{"name": name, "offset": 4 * i, "datatype": float32, "count": 1} for i, name in enumerate(names)]
        points = rng.normal(0, 10, 65000 * 4).astype(np.float32).tobytes()
        size = {"height": 1, "width": 65000, "point_step": 16, "row_step": 65000 * 16}
        return {**size, "fields": fields, "data": points}
    if stream.kind == "imu":
        turn, push = rng.normal(0, 0.1, 3), rng.normal((0, 0, 9.81), 0.1)
        return {f"angular_velocity.{axis}": float(value) for axis, value in zip("xyz", turn)} | {
            f"linear_acceleration.{axis}": float(value) for axis, value in zip("xyz", push)
        }
    return {"sample_rate": 16000, "channels": 1, "samples": rng.integers(-3000, 3000, 320, np.int16)}


def describe(streams: Sequence[Stream]) -> str:
    """The load in one line."""
    return "; ".join(f"{s.name}: {s.kind}, {SIZES[s.kind]}, {s.rate_hz:g} Hz" for s in streams)
