"""What a model expects of one sensor. Robot, training and checkpoint share this one description."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from ..errors import ParameterError
from ..sensor_kinds import sensor_kind, sensor_kinds
from ..validation import Count, Positive, Rule, build, check, under_present_names

FINER = 0.9  # a sensor that sends at less than this share of the rate of an input leaves steps of it empty
_REMEDY = "correct the modality's entry in the model's JSON or training YAML"


@dataclass(frozen=True)
class ModalitySpec:
    """One model input.

    The shape has no batch axis: camera and lidar (K, C, H, W), imu (T, 6), audio (T, n_mels), series (T, C). ``mean`` and
    ``std`` are given per channel and applied by `model_input`; empty tuples stand for 0 and 1. ``options`` are numbers whose
    names depend on the kind; preprocessing/<kind>.py explains them.
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

        names = [kind.name for kind in sensor_kinds()]
        if self.kind not in names:
            raise bad("kind", self.kind, "one of " + ", ".join(names))
        kind = sensor_kind(self.kind)
        axes = f"({', '.join(kind.input_axes)})"
        if len(self.shape) != len(kind.input_axes):
            raise bad("shape", self.shape, f"{len(kind.input_axes)} positive sizes {axes} for kind {self.kind}")
        if kind.channels and self.shape[1] != kind.channels:
            raise bad("shape", self.shape, f"{axes} with {kind.channels} channels: {kind.channel_names}")
        if kind.encodings and kind.encodings.get(self.encoding) != self.shape[1]:
            raise bad("encoding", self.encoding, f"one of {dict(kind.encodings)} with that many channels in {self.shape}")
        for part in ("mean", "std"):
            values = tuple(float(v) for v in getattr(self, part))
            object.__setattr__(self, part, values)
            if values and len(values) != self.channels:
                raise bad(part, values, f"{self.channels} numbers, one per channel")
        object.__setattr__(self, "options", under_present_names(self.options, kind.former_options))
        for name in self.options:
            if name not in kind.options:
                close = difflib.get_close_matches(name, kind.options, 1)
                raise bad("option", name, f"{close[0]!r}, perhaps" if close else "one of " + ", ".join(kind.options))

    @property
    def channels(self) -> int:
        """Number of channels that ``mean`` and ``std`` cover."""
        return self.shape[1]

    @cached_property
    def channel_mean(self) -> np.ndarray:
        """``mean`` of every channel, 0 where there is none: float32 (C,), not to be written to."""
        return _of_channels(self.mean or [0.0] * self.channels)

    @cached_property
    def channel_std(self) -> np.ndarray:
        """``std`` of every channel, 1 where there is none: float32 (C,), not to be written to."""
        return _of_channels(self.std or [1.0] * self.channels)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row that a decoder makes, as the window buffer keeps it."""
        return sensor_kind(self.kind).row_shape(self.shape)

    @property
    def grid_rate_hz(self) -> float:
        """Steps or frames per second of the input; samples per second where a message holds many."""
        kind = sensor_kind(self.kind)
        if kind.row_rate_option:
            return float(self.options.get(kind.row_rate_option, kind.row_rate_hz))
        return float(self.shape[0] / self.window_s)

    def is_finer_than(self, rate_hz: float) -> bool:
        """Whether the input has clearly more steps than a sensor sends messages. A message of sound holds many samples."""
        return not sensor_kind(self.kind).row_rate_option and 0 < rate_hz < FINER * self.grid_rate_hz

    def window_dict(self) -> dict[str, Any]:
        """The part of the spec that decides what its windows contain, as a plain dict; mean and std are applied later."""
        return {key: value for key, value in self.to_dict().items() if key not in ("mean", "std")}

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


def _of_channels(values: Sequence[float]) -> np.ndarray:
    array = np.array(values, np.float32)
    array.setflags(write=False)  # it is shared
    return array
