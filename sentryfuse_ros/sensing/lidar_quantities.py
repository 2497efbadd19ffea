"""Quantities of a LiDAR's frame: where there are returns, how far and how high, how even, and how they reflect."""

from __future__ import annotations

import numpy as np

from ..preprocessing import ModalitySpec
from .quantities import LOG, Quantities, log

_SECTORS = 4
_NAMED = ("range", "height", "count", "intensity", "relief")


def lidar_quantities(spec: ModalitySpec, part: np.ndarray) -> Quantities:
    """Of a frame (C, H, W) with the channels that `preprocessing.lidar` lists."""
    seen = part[0] > 0
    total = max(int(np.count_nonzero(seen)), 1)
    in_row = np.maximum(seen.sum(axis=1), 1)
    distance = part[0]
    found: Quantities = {}
    share = seen.mean(axis=1)
    mean_range = log(distance.sum(axis=1, dtype=np.float64) / in_row + 0.1)
    for row in range(len(share)):
        found[f"share of returns in row {row}"] = float(share[row])
        found[f"{LOG}mean range in row {row} [m]"] = float(mean_range[row])
    both = seen[:, 1:] & seen[:, :-1]
    step = np.abs(np.where(both, distance[:, 1:] - distance[:, :-1], np.float32(0)))
    steps = step[both]
    pairs = max(len(steps), 1)
    found[f"{LOG}range step, RMS [m]"] = float(log(np.sqrt(float((steps * steps).sum(dtype=np.float64)) / pairs) + 1e-3))
    found[f"{LOG}range step, mean [m]"] = float(log(float(steps.sum(dtype=np.float64)) / pairs + 1e-3))
    found[f"{LOG}range step, median [m]"] = float(log((float(np.median(steps)) if len(steps) else 0.0) + 1e-4))
    sector = np.arange(part.shape[2]) * _SECTORS // part.shape[2]
    for k in range(_SECTORS):
        own = seen[:, sector == k]
        inside = max(int(np.count_nonzero(own)), 1)
        found[f"share of returns in quarter {k}"] = float(own.mean())
        found[f"{LOG}mean range in quarter {k} [m]"] = float(log(distance[:, sector == k].sum(dtype=np.float64) / inside + 0.1))
        if len(part) > 1:
            found[f"mean height in quarter {k} [m]"] = float(part[1][:, sector == k].sum(dtype=np.float64) / inside)
    if len(part) > 1:
        heights = part[1].sum(axis=1, dtype=np.float64) / in_row
        found.update((f"mean height in row {row} [m]", float(h)) for row, h in enumerate(heights))
        inside_heights = part[1][seen] if seen.any() else np.zeros(1, np.float32)
        low, high = np.quantile(inside_heights, (0.05, 0.95))
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
