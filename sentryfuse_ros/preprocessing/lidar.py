"""LiDAR points -> frames -> model input. Axes as in REP 103: x forward, y left, z up; forward is the middle column.

A frame is a picture (C, H, W) of the points around the sensor, W columns of azimuth from left to right and H rows:
  polar 0 (default)  range image: rows of elevation, the highest first.
  polar 1            polar grid on the ground: rows of horizontal distance, the farthest first.
The first C of these channels, all exactly 0 where a cell has no point:
  range [m] of the nearest point, mean height z [m], ln(1 + number of points), mean intensity, and relief: height less
  the mean height of its neighbours in the row [m], which shows how rough a surface is whatever its slope and distance.
Options (all optional):
  polar              see above. Default 0.
  min_range_m, max_range_m    points outside are left out. Default 0.1 and 100.
  min_elevation_deg, max_elevation_deg    edges of the range image, also left out outside. Default -30 and 30.
  azimuth_fov_deg    width of the picture around forward. Default 360.
  intensity_scale    factor on intensity. Default 1.
  relief_columns     neighbours that relief is measured against, itself included. Default 9.
  relief_limit_m     relief beyond this is cut to it: the edge of a thing is not roughness. Default 0.05.
  max_points         of larger clouds only every k-th point is used, k odd so that no ring falls out. Default 65536.
  max_gap_s, hold_s  as in `camera`: which frames fill the K slots.
"""

from __future__ import annotations

from math import ceil, radians

import numpy as np

from ..errors import DecodeError, ParameterError
from .camera import slot_rows
from .spec import ModalitySpec

CHANNELS = ("range", "height", "count", "intensity", "relief")
DEFAULT_MAX_POINTS = 65536
_EDGE = 1e-6  # share of the picture that float32 angles may be off at its edge
# numpy's ufunc.at is a slow generic loop before 1.25; there a sort is faster.
_FAST_AT = tuple(int(part) for part in np.__version__.split(".")[:2]) >= (1, 25)


def point_step(count: int, limit: float) -> int:
    """Odd k such that every k-th of ``count`` points are at most about ``limit``. Rings come in even numbers, and
    clouds ring by ring or column by column: an odd step meets all of them."""
    return max(1, ceil(count / max(limit, 1))) | 1 if count > limit else 1


def lidar_frame(points: np.ndarray, spec: ModalitySpec, thinned: int = 1) -> np.ndarray:
    """Points (N, 3) xyz [m] or (N, 4) with intensity -> (C, H, W) float32. Points that are not finite, at the
    origin or outside the options' limits are left out. ``thinned``: the points are every so-many-th of the cloud's.
    Raises DecodeError on any other shape."""
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] not in (3, 4):
        raise DecodeError(f"points for {spec.name!r}", points.shape, "(N, 3) or (N, 4)", "pass x y z [intensity]")
    _, channels, height, width = check_spec(spec).shape
    option, cells = spec.options.get, height * width
    every = point_step(len(points), option("max_points", DEFAULT_MAX_POINTS))
    columns = np.ascontiguousarray(points[::every].T, np.float32)  # (3 or 4, n): arithmetic on rows is fast
    x, y, z = columns[:3]
    near, far = option("min_range_m", 0.1), option("max_range_m", 100.0)
    with np.errstate(invalid="ignore", over="ignore"):
        flat = x * x + y * y
        square = flat + z * z
        # NaN fails both comparisons, inf the second.
        used = (square >= np.float32(max(near, 1e-6) ** 2)) & (square <= np.float32(far) ** 2)
        distance, level = np.sqrt(square), np.sqrt(flat)
        half_fov = radians(option("azimuth_fov_deg", 360.0)) / 2
        column = _cells(np.arctan2(y, x), half_fov, -half_fov, width, used)  # left is positive and comes first
        if option("polar"):
            row = _cells(level, far, 0.0, height, used)
        else:
            row = _cells(
                np.arctan2(z, level),
                radians(option("max_elevation_deg", 30.0)),
                radians(option("min_elevation_deg", -30.0)),
                height,
                used,
            )
    # What is left out goes to one cell more, which is cut off: cheaper than to pick the others out of every array.
    cell = np.where(used, row * width + column, cells).astype(np.intp)
    flat_frame = np.zeros((channels, cells + 1), np.float32)
    flat_frame[0] = _nearest(cell, distance, cells + 1)
    if channels > 1:
        count = np.bincount(cell, minlength=cells + 1)
        share = 1.0 / np.maximum(count, 1)
        flat_frame[1] = np.bincount(cell, z, cells + 1) * share
    if channels > 2:
        flat_frame[2] = np.log1p(count * (every * thinned))
    if channels > 3 and len(columns) == 4:
        intensity = np.where(np.isfinite(columns[3]), columns[3], 0)
        flat_frame[3] = np.bincount(cell, intensity, cells + 1) * share * option("intensity_scale", 1.0)
    frame = np.ascontiguousarray(flat_frame[:, :cells]).reshape(channels, height, width)
    if channels > 4:
        limit = np.float32(option("relief_limit_m", 0.05))
        frame[4] = np.clip(
            _relief(frame[1], frame[0] > 0, int(option("relief_columns", 9)), option("azimuth_fov_deg", 360.0) == 360),
            -limit,
            limit,
        )
    return frame


def _relief(height: np.ndarray, seen: np.ndarray, columns: int, around: bool) -> np.ndarray:
    """(H, W) less the mean of the ``columns`` nearest cells of the row that have points; 0 without points.

    ``around``: the picture goes on at its other side; else cells at its edges have fewer neighbours.
    """
    ahead = columns // 2
    sums = np.stack([np.where(seen, height, 0), seen]).astype(np.float64)
    before, after = (sums[..., -ahead:], sums[..., : columns - ahead - 1])
    if not around:
        before, after = np.zeros_like(before), np.zeros_like(after)
    wrapped = np.concatenate([before, sums, after], axis=-1)
    total = np.cumsum(np.concatenate([np.zeros((*sums.shape[:2], 1)), wrapped], axis=-1), axis=-1)
    near = total[..., columns:] - total[..., :-columns]
    return np.where(seen, height - near[0] / np.maximum(near[1], 1), 0)


def check_spec(spec: ModalitySpec) -> ModalitySpec:
    """Raises ParameterError where shape or options make no frame; returns the spec."""
    option = spec.options.get
    ranges = option("min_range_m", 0.1), option("max_range_m", 100.0)
    elevations = option("min_elevation_deg", -30.0), option("max_elevation_deg", 30.0)
    for what, seen, good, expected in (
        ("channels", spec.shape[1], spec.shape[1] <= len(CHANNELS), f"at most {len(CHANNELS)}: {', '.join(CHANNELS)}"),
        ("min_range_m, max_range_m", ranges, 0 <= ranges[0] < ranges[1], "0 <= min < max"),
        (
            "min_elevation_deg, max_elevation_deg",
            elevations,
            -90 <= elevations[0] < elevations[1] <= 90,
            "-90 <= min < max <= 90",
        ),
        (
            "relief_columns",
            option("relief_columns", 9),
            2 <= option("relief_columns", 9) <= spec.shape[3] or spec.shape[1] < 5,
            "2 to the number of columns",
        ),
        ("azimuth_fov_deg", option("azimuth_fov_deg", 360.0), 0 < option("azimuth_fov_deg", 360.0) <= 360, "(0, 360]"),
    ):
        if not good:
            raise ParameterError(f"modality {spec.name!r} {what}", seen, expected, "correct the modality's options")
    return spec


def model_input(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec) -> np.ndarray:
    """Frames (k, C, H, W) at stamps (k,) [ns], sorted -> (K, C, H, W) float32, normalised where there are points;
    cells without points and empty slots are exactly zero."""
    index = slot_rows(row_stamp_ns, end_ns, spec)
    filled = index >= 0
    out = np.zeros(spec.shape, np.float32)
    if filled.any():
        frames = rows[index[filled]]
        mean = np.asarray(spec.mean or [0.0] * spec.channels, np.float32)[:, None, None]
        std = np.asarray(spec.std or [1.0] * spec.channels, np.float32)[:, None, None]
        out[filled] = np.where(frames[:, :1] > 0, (frames - mean) / std, 0.0)
    return out


def valid_cells(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Validity mask (n, K, 1, H, W) of windows (n, K, C, H, W) that are not normalised: cells with a point, whose range is
    above zero."""
    return x[:, :, :1] > 0


def _cells(values: np.ndarray, first: float, last: float, count: int, used: np.ndarray) -> np.ndarray:
    """Cell of each value (n,) on ``count`` equal cells from ``first`` down to ``last``; clears ``used`` outside."""
    at = (np.float32(first) - values) * np.float32(count / (first - last))
    used &= (at > -_EDGE * count) & (at < count + _EDGE * count)
    return np.clip(at.astype(np.int32), 0, count - 1)


def _nearest(cell: np.ndarray, distance: np.ndarray, cells: int) -> np.ndarray:
    """Smallest distance in each cell (cells,), 0 where there is none."""
    nearest = np.full(cells, np.inf, np.float32)
    if _FAST_AT:
        with np.errstate(invalid="ignore"):  # what is left out may be NaN
            np.minimum.at(nearest, cell, distance)
    else:
        order = np.argsort(-distance)  # the last one written stays
        nearest[cell[order]] = distance[order]
    nearest[np.isinf(nearest)] = 0.0
    return nearest
