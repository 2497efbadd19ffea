"""Mean and standard deviation of windows: measuring them, and applying them to windows that were extracted without.

`model_input` of a spec with mean and std gives the same numbers as `normalise` of the windows of a spec without. A data set
is therefore extracted once, and every model that reads it normalises it by its own spec.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..sensor_kinds import sensor_kind
from .spec import ModalitySpec

CHANNEL_AXIS = 2  # of windows (n, *spec.shape): (n, T, C) or (n, K, C, H, W)


def valid_cells(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Validity mask of windows (n, *spec.shape) that are not normalised: True where there is data, in a shape that broadcasts
    with x. Cells without data are exactly zero; what a cell is depends on the kind (a step, a frame, a pixel)."""
    return sensor_kind(spec.kind).valid_cells(spec, x)


def normalise(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Windows (n, *spec.shape) extracted without mean and std -> float32, normalised by the spec's mean and std.

    Cells without data stay exactly zero.
    """
    x = np.asarray(x, np.float32)
    if not spec.mean and not spec.std:
        return x
    shape = (-1, *(1 for _ in spec.shape[2:]))  # channels first, then one axis for each that follows them
    mean = np.asarray(spec.mean or [0.0] * spec.channels, np.float32).reshape(shape)
    std = np.asarray(spec.std or [1.0] * spec.channels, np.float32).reshape(shape)
    return np.where(valid_cells(spec, x), (x - mean) / std, np.float32(0))


def measure(spec: ModalitySpec, windows: Iterable[np.ndarray]) -> ModalitySpec:
    """The spec with the mean and std of every channel, taken over the valid cells of batches of windows (n, *spec.shape).

    A depth camera with the option ``relative_depth`` keeps mean 0, because its windows already lie around their own median.
    The spec comes back unchanged where it has mean and std, or where there is no data at all.
    """
    if spec.mean and spec.std:
        return spec
    count, total, square = np.zeros(spec.channels), np.zeros(spec.channels), np.zeros(spec.channels)
    for x in windows:
        x = np.asarray(x, np.float32)
        valid = np.broadcast_to(valid_cells(spec, x), x.shape)
        axes = tuple(axis for axis in range(x.ndim) if axis != CHANNEL_AXIS)
        count += valid.sum(axis=axes)
        total += np.where(valid, x, 0).sum(axis=axes, dtype=np.float64)
        square += np.where(valid, np.square(x, dtype=np.float64), 0).sum(axis=axes)
    if not np.any(count):
        return spec
    mean = total / np.maximum(count, 1)
    if spec.options.get("relative_depth"):
        mean = np.zeros_like(mean)
    std = np.maximum(np.sqrt(np.maximum(square / np.maximum(count, 1) - mean**2, 0)), 1e-6)
    return replace(spec, mean=tuple(round(float(m), 6) for m in mean), std=tuple(round(float(s), 6) for s in std))
