"""LiDAR points -> frames -> model input. Axes as in REP 103: x forward, y left, z up; forward is the middle column.

A frame is an image (C, H, W) of the points around the sensor, with W columns of azimuth from left to right and H rows:
  polar 0 (default)  range image: rows of elevation, the highest first.
  polar 1            polar grid on the ground: rows of horizontal distance, the farthest first.
It has the first C of these channels, all of them exactly 0 in a cell without points:
  range [m] of the nearest point; mean height z [m]; ln(1 + number of points); mean intensity; and relief [m], the height minus
  the mean height of the neighbours in the row, which shows how rough a surface is at any slope and distance.
Options (all optional):
  polar              see above. Default 0.
  min_range_m, max_range_m    points nearer or farther are left out [m]. Default 0.1 and 100.
  min_elevation_deg, max_elevation_deg    lower and upper edge of the range image, beyond which points are left out [deg].
                     Default -30 and 30.
  azimuth_fov_deg    width of the image, centred on forward [deg]. Default 360.
  intensity_scale    factor on the intensity. Default 1.
  relief_columns     number of neighbours that relief is measured against, the cell itself included. Default 9.
  relief_limit_m     relief is limited to this, because the edge of an object is not roughness [m]. Default 0.05.
  max_points         of a larger cloud only every k-th point is used, with k odd so that no ring is lost. Default 65536.
  max_gap_s, max_repeat_s    which frames fill the K slots, as in `camera`.
"""

from __future__ import annotations

from math import ceil, pi, radians, tan

import numpy as np

from ..errors import DecodeError, ParameterError
from .frame_slots import filled_slots, window_of_slots
from .spec import ModalitySpec

CHANNELS = ("range", "height", "count", "intensity", "relief")
DEFAULT_MAX_POINTS = 65536
SELECT_SHARE = 0.6  # of the points; if fewer are used, selecting them is cheaper than carrying the others along
_EDGE = 1e-6  # rounding error of float32 angles that is accepted at the edge, as a share of the image
_BESIDE_RAD = 1e-3  # how far beside the rows of a frame a point is still looked at closely
# Before numpy 1.25 ufunc.at is a slow generic loop, and a sort is faster.
_FAST_AT = tuple(int(part) for part in np.__version__.split(".")[:2]) >= (1, 25)


def point_step(count: int, limit: float) -> int:
    """Odd k such that every k-th of ``count`` points gives at most about ``limit`` points.

    LiDARs have an even number of rings, and clouds are ordered by ring or by column, so an odd step reaches every ring.
    """
    return max(1, ceil(count / max(limit, 1))) | 1 if count > limit else 1


def lidar_frame(points: np.ndarray, spec: ModalitySpec, thinned: int = 1) -> np.ndarray:
    """Points (N, 3) xyz [m], or (N, 4) with intensity -> (C, H, W) float32.

    Points that are not finite, at the origin, or beyond the limits of the options are left out. ``thinned``: the points are
    every ``thinned``-th of the cloud, which scales the count channel. Raises DecodeError for any other shape.
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] not in (3, 4):
        raise DecodeError(f"points for {spec.name!r}", points.shape, "(N, 3) or (N, 4)", "pass x y z [intensity]")
    check_spec(spec)
    every = point_step(len(points), spec.options.get("max_points", DEFAULT_MAX_POINTS))
    columns = np.ascontiguousarray(points[::every].T, np.float32)  # (3 or 4, n): arithmetic on rows is fast
    cell, distance, columns = _cells_of_points(columns, spec)
    return _frame_of_cells(cell, distance, columns, spec, every * thinned)


def _cells_of_points(columns: np.ndarray, spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell (n,) of every point in the flat frame, its distance (n,) [m], and the columns (3 or 4, n) of these points.

    Points that are left out are either removed, or in an extra cell behind the last one.
    """
    _, _, height, width = spec.shape
    option = spec.options.get
    x, y, z = columns[:3]
    near, far = option("min_range_m", 0.1), option("max_range_m", 100.0)
    with np.errstate(invalid="ignore", over="ignore"):
        flat = x * x + y * y
        square = flat + z * z
        # NaN fails both comparisons, inf the second.
        used = (square >= np.float32(max(near, 1e-6) ** 2)) & (square <= np.float32(far) ** 2)
        level = np.sqrt(flat)
        used &= _within_rows(level, z, spec)  # before the angles, which cost the most
        if np.count_nonzero(used) < SELECT_SHARE * len(used):
            kept = np.flatnonzero(used)
            columns, square, level, used = columns.take(kept, 1), square[kept], level[kept], used[kept]
            x, y, z = columns[:3]
        distance = np.sqrt(square)
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
    row *= width
    row += column
    if np.count_nonzero(used) < SELECT_SHARE * len(used):
        kept = np.flatnonzero(used)
        return row[kept].astype(np.intp), distance[kept], columns.take(kept, 1)
    row[~used] = height * width
    return row.astype(np.intp), distance, columns


def _frame_of_cells(cell: np.ndarray, distance: np.ndarray, columns: np.ndarray, spec: ModalitySpec, thinned: int) -> np.ndarray:
    """The channels (C, H, W) of a frame from what `_cells_of_points` gives; ``thinned`` as in `lidar_frame`."""
    _, channels, height, width = spec.shape
    option, cells = spec.options.get, height * width
    flat_frame = np.zeros((channels, cells + 1), np.float32)
    flat_frame[0] = _nearest(cell, distance, cells + 1)
    if channels > 1:
        count = np.bincount(cell, minlength=cells + 1)
        share = 1.0 / np.maximum(count, 1)
        with np.errstate(invalid="ignore"):  # points that are left out may be inf or NaN, in the extra cell
            flat_frame[1] = np.bincount(cell, columns[2], cells + 1) * share
    if channels > 2:
        flat_frame[2] = np.log1p(count * thinned)
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


def _within_rows(level: np.ndarray, z: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    """Which points (n,) may lie in the rows of a frame: all that do, and a few beside them. ``level``: horizontal distance."""
    option = spec.options.get
    if option("polar"):
        return np.asarray(level <= np.float32(option("max_range_m", 100.0) * (1 + _BESIDE_RAD)))
    within = np.ones(len(z), bool)
    for edge, sign in ((option("min_elevation_deg", -30.0), 1), (option("max_elevation_deg", 30.0), -1)):
        beside = radians(edge) - sign * _BESIDE_RAD
        if abs(beside) < pi / 2 - _BESIDE_RAD:
            slope = np.float32(tan(beside))
            within &= z >= slope * level if sign > 0 else z <= slope * level
    return within


def seen_points(columns: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    """Which of the points x, y, z (3, n) [m] get into a frame: bool (n,), as in `lidar_frame` but for rounding at the edges."""
    option = spec.options.get
    x, y, z = columns[:3]
    near, far = option("min_range_m", 0.1), option("max_range_m", 100.0)
    with np.errstate(invalid="ignore", over="ignore"):
        level = np.hypot(x, y)
        square = level * level + z * z
        seen: np.ndarray = (square >= np.float32(max(near, 1e-6) ** 2)) & (square <= np.float32(far) ** 2)
        if option("polar"):
            seen &= level <= np.float32(far)
        else:
            for edge, sign in ((option("min_elevation_deg", -30.0), 1), (option("max_elevation_deg", 30.0), -1)):
                if abs(edge) < 90:
                    slope = np.float32(tan(radians(edge)))
                    seen &= sign * (z - slope * level) >= -np.float32(1e-5) * (level + np.abs(z))
        if option("azimuth_fov_deg", 360.0) < 360:
            seen &= np.abs(np.arctan2(y, x)) <= np.float32(radians(option("azimuth_fov_deg", 360.0)) / 2 + 1e-6)
    return seen


def _relief(height: np.ndarray, seen: np.ndarray, columns: int, around: bool) -> np.ndarray:
    """Height (H, W) minus the mean of those of the ``columns`` nearest cells of the row that have points; 0 without points.

    ``around``: the image continues at its other side; otherwise cells at its edges have fewer neighbours.
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
    """Raises ParameterError if shape and options make no frame; returns the spec."""
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
    """Frames (k, C, H, W) at stamps (k,) [ns], sorted -> (K, C, H, W) float32, normalised where there are points.

    Cells without points and empty slots are exactly zero.
    """
    filled, frames = filled_slots(row_stamp_ns, rows, end_ns, spec)
    empty = ~(frames[:, :1] > 0)
    frames -= spec.channel_mean[:, None, None]
    frames /= spec.channel_std[:, None, None]
    np.copyto(frames, 0.0, where=empty)
    return window_of_slots(filled, frames, spec)


def valid_cells(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Validity mask (n, K, 1, H, W) of windows (n, K, C, H, W) that are not normalised: cells with a point, whose range is
    above zero."""
    return x[:, :, :1] > 0


def _cells(values: np.ndarray, first: float, last: float, count: int, used: np.ndarray) -> np.ndarray:
    """Index of the cell of each value (n,), of ``count`` equal cells from ``first`` down to ``last``; clears ``used`` outside."""
    at = (np.float32(first) - values) * np.float32(count / (first - last))
    used &= (at > -_EDGE * count) & (at < count + _EDGE * count)
    return np.clip(at.astype(np.int32), 0, count - 1)


def _nearest(cell: np.ndarray, distance: np.ndarray, cells: int) -> np.ndarray:
    """Smallest distance in each cell (cells,), 0 where there is none."""
    nearest = np.full(cells, np.inf, np.float32)
    if _FAST_AT:
        with np.errstate(invalid="ignore"):  # points that are left out may be NaN
            np.minimum.at(nearest, cell, distance)
    else:
        order = np.argsort(-distance)  # of several points in a cell the one written last stays
        nearest[cell[order]] = distance[order]
    nearest[np.isinf(nearest)] = 0.0
    return nearest
