"""Quantities of a LiDAR's frame: where there are returns, how far and how high, how even, and how they reflect."""

from __future__ import annotations

import numpy as np

from ..preprocessing import ModalitySpec
from .quantities import LOG, Quantities, log, median, quantiles

_SECTORS = 4
_FAR_SHARE = 0.06  # of the returns of a row lie beyond its far range
_BELOW = 1000.0  # every height is lower [m]
_NAMED = ("range", "height", "count", "intensity", "relief")


def lidar_quantities(spec: ModalitySpec, part: np.ndarray) -> Quantities:
    """Of a frame (C, H, W) with the channels that `preprocessing.lidar` lists."""
    seen = part[0] > 0
    total = max(int(np.count_nonzero(seen)), 1)
    in_row = np.maximum(seen.sum(axis=1), 1)
    distance = part[0]
    found: Quantities = {}
    share, far = seen.mean(axis=1), _far(distance)
    far_range = log(far + 0.1)
    for row in range(len(share)):
        found[f"share of returns in row {row}"] = float(share[row])
        found[f"{LOG}far range in row {row} [m]"] = float(far_range[row])
    both = seen[:, 1:] & seen[:, :-1]
    step = np.abs(np.where(both, distance[:, 1:] - distance[:, :-1], np.float32(0)))
    steps = step[both]
    pairs = max(len(steps), 1)
    found[f"{LOG}range step, RMS [m]"] = float(log(np.sqrt(float((steps * steps).sum(dtype=np.float64)) / pairs) + 1e-3))
    found[f"{LOG}range step, mean [m]"] = float(log(float(steps.sum(dtype=np.float64)) / pairs + 1e-3))
    found[f"{LOG}range step, median [m]"] = float(log((float(median(steps)) if len(steps) else 0.0) + 1e-4))
    sector = np.arange(part.shape[2]) * _SECTORS // part.shape[2]
    for k in range(_SECTORS):
        own = seen[:, sector == k]
        inside = _far(distance[:, sector == k])
        found[f"share of returns in quarter {k}"] = float(own.mean())
        found[f"{LOG}far range in quarter {k} [m]"] = float(log(inside.mean() + 0.1))
    if len(part) > 1:
        # What dust returns lies nearer and higher than what is behind it, which the far and the low end do not see.
        ground = -_far(np.where(seen, np.float32(_BELOW) - part[1], np.float32(0))) + _BELOW
        for row, height in enumerate(np.where(seen.any(axis=1), ground, 0.0).tolist()):
            found[f"low height in row {row} [m]"] = height
        inside_heights = part[1][seen] if seen.any() else np.zeros(1, np.float32)
        low, high = quantiles(inside_heights, (0.05, 0.95))
        found["low height [m]"], found["high height [m]"] = float(low), float(high)
        found[f"{LOG}deviation of the height [m]"] = float(log(float(inside_heights.std()) + 1e-2))
    for place in range(2, len(part)):
        name = _NAMED[place]
        values = part[place][seen] if seen.any() else np.zeros(1, np.float32)
        found[f"{LOG}deviation of the {name}"] = float(log(float(values.std()) + 1e-3))
        if name != "relief":
            found[f"{LOG}mean {name}"] = float(log(float(values.mean()) + 1e-3))
            change = np.where(both, part[place][:, 1:] - part[place][:, :-1], np.float32(0))
            rough = np.sqrt(float((change * change).sum(dtype=np.float64)) / pairs)
            found[f"{LOG}step over deviation of the {name}"] = float(log(rough / (float(values.std()) + 1e-3) + 1e-2))
            rows = part[place].sum(axis=1, dtype=np.float64) / in_row
            found[f"{LOG}spread of the {name} over the rows"] = float(log(rows.std() / (total and values.mean() + 1e-3) + 1e-2))
    return found


def _far(values: np.ndarray) -> np.ndarray:
    """For each row of (H, W) the value that few of its cells exceed, of those that are not 0; 0 without any: (H,)."""
    count = np.count_nonzero(values, axis=1)
    place = values.shape[1] - 1 - (_FAR_SHARE * count).astype(np.int64)
    ascending = np.sort(values, axis=1)
    return np.asarray(np.take_along_axis(ascending, place[:, None], axis=1)[:, 0], np.float64)
