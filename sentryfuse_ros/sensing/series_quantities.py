"""Quantities of an IMU and of series of numbers: means, sizes, how fast they change, and how channels move together."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..preprocessing import ModalitySpec
from .quantities import LOG, Quantities, log, mean_of

_IMU_CHANNELS = tuple(f"{what} {axis}" for what in ("angular velocity", "acceleration") for axis in "xyz")
_IMU_UNITS = ("[rad/s]",) * 3 + ("[m/s^2]",) * 3
_STEP = 4  # steps over which slow changes are measured
_SMALL = 1e-6
_SAME = 1e-5  # steps smaller than this share of the deviation are none
_MOST_PAIRS = 6  # channels of a series beyond these are not compared in pairs


def imu_quantities(spec: ModalitySpec, part: np.ndarray) -> Quantities:
    """Of steps (k, 6): gyro [rad/s] and accel [m/s^2]."""
    found = _of_channels(part, _IMU_CHANNELS, _IMU_UNITS)
    mean = part.mean(axis=0, dtype=np.float64)
    found["acceleration magnitude [m/s^2]"] = float(np.sqrt(mean[3:] @ mean[3:]))
    found["log angular velocity magnitude [rad/s]"] = float(log(np.sqrt(mean[:3] @ mean[:3]) + 0.01))
    return found


def series_quantities(spec: ModalitySpec, part: np.ndarray) -> Quantities:
    """Of steps (k, C) in the units of the message."""
    channels = tuple(f"channel {i}" for i in range(part.shape[1]))
    return _of_channels(part, channels, ("",) * len(channels))


def _of_channels(part: np.ndarray, channels: tuple[str, ...], units: tuple[str, ...]) -> Quantities:
    x = part.astype(np.float64)
    mean = x.mean(axis=0)
    around = x - mean
    size = _rms(around)
    step = x[1:] - x[:-1]
    step_size = _rms(step)
    turn_size = _rms(step[1:] - step[:-1])
    slow_size = _rms(x[_STEP:] - x[:-_STEP])
    compared = min(len(channels), _MOST_PAIRS)
    together = (
        around[:, :compared].T @ around[:, :compared] / len(x) / np.outer(size[:compared] + _SMALL, size[:compared] + _SMALL)
    )
    same = np.abs(step) < _SAME * (size + _SMALL)
    values = np.concatenate(
        (
            mean,
            log(size),
            log(step_size / (size + _SMALL)),
            log(turn_size / (step_size + _SMALL)),
            log(slow_size / (size + _SMALL)),
            mean_of(np.abs(step)) / (step_size + _SMALL),
            together[np.tril_indices(compared, -1)],
            [np.count_nonzero(same) / max(same.size, 1), float(((x == x.max(axis=0)) | (x == x.min(axis=0))).mean(axis=0).max())],
        )
    )
    return dict(zip(_names(channels, units), values.tolist(), strict=True))


def _rms(values: np.ndarray) -> np.ndarray:
    """Root mean square of each column (C,) of (k, C)."""
    return np.sqrt(mean_of(values * values))


@lru_cache(maxsize=16)
def _names(channels: tuple[str, ...], units: tuple[str, ...]) -> tuple[str, ...]:
    pairs = [(i, j) for i in range(min(len(channels), _MOST_PAIRS)) for j in range(i)]
    return (
        *(f"mean {name} {unit}".strip() for name, unit in zip(channels, units)),
        *(f"{LOG}deviation of {name} {unit}".strip() for name, unit in zip(channels, units)),
        *(f"{LOG}step over deviation of {name}" for name in channels),
        *(f"{LOG}change of step over step of {name}" for name in channels),
        *(f"{LOG}step of four over deviation of {name}" for name in channels),
        *(f"evenness of the steps of {name}" for name in channels),
        *(f"correlation of {channels[i]} and {channels[j]}" for i, j in pairs),
        "share of steps without change",
        "share of steps at the ends of the range",
    )
