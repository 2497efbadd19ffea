"""Mean and standard deviation of windows that were cut without them: measure, and apply afterwards.

`model_input` of a spec with mean and std gives the same as `normalise` of one without, so a data set can be cut once
and normalised by whatever model reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from .spec import ModalitySpec

PIXELS = ("camera", "lidar")  # windows (K, C, H, W); the others (T, C)


def present_cells(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Windows (n, *spec.shape) -> where there is data, in a shape that broadcasts with x. Empty is exactly zero: a step
    (T) in all channels, a camera frame (K) in all pixels, a LiDAR cell or depth pixel without return."""
    if spec.kind == "lidar":
        return x[:, :, :1] > 0
    if spec.kind == "camera" and spec.encoding == "depth_m":
        return x != 0
    return x.any(axis=(2, 3, 4) if spec.kind == "camera" else 2, keepdims=True)


def normalise(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Windows (n, *spec.shape) cut without mean and std -> float32, normalised by the spec's; empty cells stay zero."""
    x = np.asarray(x, np.float32)
    if not spec.mean and not spec.std:
        return x
    shape = (-1, 1, 1) if spec.kind in PIXELS else (-1,)
    mean = np.asarray(spec.mean or [0.0] * spec.channels, np.float32).reshape(shape)
    std = np.asarray(spec.std or [1.0] * spec.channels, np.float32).reshape(shape)
    return np.where(present_cells(spec, x), (x - mean) / std, np.float32(0))


def measure(spec: ModalitySpec, windows: Iterable[np.ndarray]) -> ModalitySpec:
    """The spec with mean and std per channel, over the cells with data of batches of windows (n, *spec.shape).

    A depth camera with ``relative_depth`` keeps mean 0: its windows are around their own median already. Unchanged where
    mean and std are given, or there is no data at all.
    """
    if spec.mean and spec.std:
        return spec
    count, total, square = 0.0, np.zeros(spec.channels), np.zeros(spec.channels)
    for x in windows:
        x = np.asarray(x, np.float32)
        seen = np.broadcast_to(present_cells(spec, x), x.shape)
        axes = (0, 1, 3, 4) if spec.kind in PIXELS else (0, 1)
        count = count + seen.sum(axis=axes)
        total += np.where(seen, x, 0).sum(axis=axes, dtype=np.float64)
        square += np.where(seen, np.square(x, dtype=np.float64), 0).sum(axis=axes)
    if not np.any(count):
        return spec
    mean = total / np.maximum(count, 1)
    if spec.options.get("relative_depth"):
        mean = np.zeros_like(mean)
    std = np.maximum(np.sqrt(np.maximum(square / np.maximum(count, 1) - mean**2, 0)), 1e-6)
    return replace(spec, mean=tuple(round(float(m), 6) for m in mean), std=tuple(round(float(s), 6) for s in std))
