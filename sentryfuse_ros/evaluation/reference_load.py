"""The load that whole nodes are measured on: messages of usual sizes at usual rates, for any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..preprocessing import ModalitySpec

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
    return values


def describe(streams: Sequence[Stream]) -> str:
    """The load in one line."""
    return "; ".join(f"{s.name}: {s.kind}, {SIZES[s.kind]}, {s.rate_hz:g} Hz" for s in streams)
