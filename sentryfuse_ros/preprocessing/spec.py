"""What a model expects of one sensor: the one description that robot, training and checkpoint share."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from ..errors import ParameterError
from ..validation import Count, Positive, Rule, build, check

KINDS = ("camera", "imu", "audio", "lidar", "series")
CAMERA_ENCODINGS = {"depth_m": 1, "rgb": 3, "mono": 1}  # encoding -> channels
# Names a kind's options may have; the top of its file says what they mean.
_SLOTS = ("max_gap_s", "hold_s")
OPTIONS = {
    "camera": (*_SLOTS, "relative_depth", "centre_columns"),
    "imu": ("max_gap_s",),
    "audio": ("sample_rate_hz", "n_fft", "f_min_hz", "f_max_hz", "log_floor"),
    "lidar": (
        *_SLOTS,
        "polar",
        "min_range_m",
        "max_range_m",
        "min_elevation_deg",
        "max_elevation_deg",
        "azimuth_fov_deg",
        "intensity_scale",
        "relief_columns",
        "relief_limit_m",
        "max_points",
    ),
    "series": ("max_gap_s",),
}
_REMEDY = "correct the modality's entry in the model's JSON or training YAML"
_NDIM = {"camera": 4, "imu": 2, "audio": 2, "lidar": 4, "series": 2}


@dataclass(frozen=True)
class ModalitySpec:
    """One model input slot.

    Shape is without the batch axis: camera (K, C, H, W), imu (T, 6), audio (T, n_mels), lidar (K, C, H, W),
    series (T, C). ``mean`` and ``std`` are per channel and applied by `model_input`; empty means 0 and 1.
    ``options`` are kind-specific numbers, listed at the top of that kind's file.
    Raises ParameterError naming the field that is wrong.
    """

    name: Annotated[str, Rule(bool, "a non-empty name of the model input")]
    kind: str
    window_s: Annotated[float, Rule(lambda v: 0 < v < 3600, "a number of seconds in (0, 3600)")]
    shape: tuple[Count, ...]
    encoding: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[Positive, ...] = ()
    options: Mapping[str, bool | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        what = f"modality {self.name!r}" if isinstance(self.name, str) and self.name else "modality"
        check(self, what, _REMEDY)

        def bad(field_name: str, seen: object, expected: str) -> ParameterError:
            return ParameterError(f"{what} {field_name}", repr(seen), expected, _REMEDY)

        if self.kind not in KINDS:
            raise bad("kind", self.kind, "one of " + ", ".join(KINDS))
        if len(self.shape) != _NDIM[self.kind]:
            raise bad("shape", self.shape, f"{_NDIM[self.kind]} positive sizes for kind {self.kind}")
        if self.kind == "imu" and self.shape[1] != 6:
            raise bad("shape", self.shape, "(T, 6): gyro xyz, accel xyz")
        if self.kind == "camera" and CAMERA_ENCODINGS.get(self.encoding) != self.shape[1]:
            raise bad("encoding", self.encoding, f"one of {CAMERA_ENCODINGS} with that many channels in {self.shape}")
        for part in ("mean", "std"):
            values = tuple(float(v) for v in getattr(self, part))
            object.__setattr__(self, part, values)
            if values and len(values) != self.channels:
                raise bad(part, values, f"{self.channels} numbers, one per channel")
        for name in self.options:
            if name not in OPTIONS[self.kind]:
                close = difflib.get_close_matches(name, OPTIONS[self.kind], 1)
                raise bad("option", name, f"{close[0]!r}, perhaps" if close else "one of " + ", ".join(OPTIONS[self.kind]))

    @property
    def channels(self) -> int:
        """Number of channels that ``mean`` and ``std`` cover."""
        return self.shape[1]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one buffered row, for a window buffer."""
        if self.kind in ("camera", "lidar"):
            return self.shape[1:]
        return () if self.kind == "audio" else self.shape[1:]

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "window_s": float(self.window_s),
            "shape": list(self.shape),
            "encoding": self.encoding,
            "mean": list(self.mean),
            "std": list(self.std),
            "options": dict(self.options),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModalitySpec:
        """Inverse of `to_dict`; raises ParameterError on a missing or unknown key, or a value that its field cannot have."""
        name = values.get("name") if isinstance(values, Mapping) else None
        return build(cls, values, f"modality {name!r}" if name else "modality", _REMEDY)
