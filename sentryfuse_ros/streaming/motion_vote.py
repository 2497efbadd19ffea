"""Whether a picture has moved as a whole: the windows compare their profiles with those of a key picture and vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from ..errors import ParameterError
from ..runtime.onnx_graph import FLOAT, OnnxGraph
from ..runtime.onnx_patches import TINY
from ..runtime.onnx_session import make_session
from ..validation import Count, Positive, Share, check

_CONFLICT_M = 0.2  # a depth is compared up to this difference, so that an edge counts no more than a face
_PIXELS, _KEY, _PROFILES, _VOTES = "pixels", "key", "profiles", "votes"


@dataclass(frozen=True)
class MotionLimits:
    """From when on the camera counts as moving, and for how long after that."""

    turn_rad_s: Positive = 0.02  # rate of turn: half a pixel per picture at 10 Hz is twice this
    speed_m_s: Positive = 0.05
    most_shift: Count = 3  # largest shift that the vote tries, in pixels
    agreeing: Count = 4  # at least so many windows must agree that the picture moved,
    agreeing_share: Share = 0.4  # and this share of those that can tell
    least_contrast: Positive = 0.012  # a window can tell where its difference varies by at least this with the shift
    still_pictures: Count = 3  # pictures without a sign of motion until the camera counts as still
    vote_every: Count = 2  # pictures between two votes

    def __post_init__(self) -> None:
        check(self, "motion limits", "correct the streaming section")


class MotionVote:
    """Compares the profiles of windows with those of a key picture, at several shifts; the windows then vote.

    A profile is the mean over the rows of a window, or over its columns. One key picture is kept until motion is found, so that
    a slow pan adds up until it is seen.
    """

    def __init__(self, grid: tuple[int, int], side: int, limits: MotionLimits | None = None, channels: int = 1):
        """grid: rows and columns of windows. side: of a window, in pixels. The first of the ``channels`` is looked at.

        Raises ParameterError where a picture is no larger than the shifts.
        """
        self.limits = limits or MotionLimits()
        windows = grid[0] * grid[1]
        self._session = make_session(_vote_graph(grid, side, channels, self.limits))
        self._pixels = np.zeros((windows, channels * side * side), np.float32)
        self._key, self._now = np.zeros((2, windows, 2 * side), np.float32)
        self._votes = np.zeros(5, np.float32)  # of windows that moved left, right, up, down; windows that could tell
        self._has_key = False
        self._binding: Any = self._session.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._binding.bind_ortvalue_input(_KEY, value(self._key))
        self._binding.bind_ortvalue_output(_PROFILES, value(self._now))
        self._binding.bind_ortvalue_output(_VOTES, value(self._votes))

    def reset(self) -> None:
        """Forget the key picture."""
        self._has_key = False

    def moved(self, pixels: np.ndarray) -> bool:
        """Whether a picture, window by window (windows, C * side * side), has moved against the key picture. It becomes the key
        where it has, or where there is none."""
        self._binding.bind_cpu_input(_PIXELS, pixels)
        self._session.run_with_iobinding(self._binding)
        *ways, told = self._votes.tolist()
        found = self._has_key and max(ways) >= max(self.limits.agreeing, self.limits.agreeing_share * told / 2)
        if found or not self._has_key:
            self._key[...], self._has_key = self._now, True
        return found


def _vote_graph(grid: tuple[int, int], side: int, channels: int, limits: MotionLimits) -> OnnxGraph:
    """Inputs _PIXELS (windows, C * side * side), _KEY (windows, 2 * side); outputs _PROFILES (windows, 2 * side), _VOTES (5,)."""
    graph, (rows, columns) = OnnxGraph(), grid
    pixels = graph.input(_PIXELS, [rows * columns, channels * side * side])
    key = graph.input(_KEY, [rows * columns, 2 * side])
    pool = np.zeros((channels, side, side, 2, side), np.float32)  # over the rows, over the columns
    for i in range(side):
        pool[0, :, i, 0, i] = pool[0, i, :, 1, i] = 1 / side
    means = pool.reshape(-1, 2 * side)
    valid = graph.op("Clip", pixels, 0.0, TINY)
    share = graph.op("Max", graph.op("MatMul", valid, means / TINY), 1e-3)
    now = graph.op("Div", graph.op("MatMul", pixels, means), share)
    graph.output(now, _PROFILES)
    costs, bands = [], []
    for axis in (0, 1):
        # Along the rows of windows, then along their columns: (bands, length).
        count, length = (rows, columns * side) if axis == 0 else (columns, rows * side)
        inner = length - 2 * limits.most_shift
        if inner < 1:
            most = limits.most_shift
            raise ParameterError("motion most_shift", most, f"less than half of {length} pixels", "choose a smaller one")
        own, held = (_along(graph, profiles, grid, side, axis) for profiles in (now, key))
        shifted = [_columns(graph, own, shift, inner) for shift in range(2 * limits.most_shift + 1)]
        off = graph.op("Concat", *(graph.reshape(x, 1, count, inner) for x in shifted), axis=0)
        off = graph.op("Abs", graph.op("Sub", off, _columns(graph, held, limits.most_shift, inner)))
        off = graph.op("Min", off, _CONFLICT_M)
        starts = np.arange(0, max(inner - side // 2, 1), side)
        window = np.searchsorted(starts, np.arange(inner), "right") - 1
        sums = (window[:, None] == np.arange(len(starts))).astype(np.float32) / np.float32(side)
        costs.append(graph.reshape(graph.op("MatMul", off, sums), len(shifted), -1))
        bands.append(count * len(starts))
    cost = graph.op("Concat", *costs, axis=1)  # (shifts, windows along the rows and along the columns)
    less, more = (graph.op("ReduceMin", _rows(graph, cost, *part), [0]) for part in _halves(limits.most_shift))
    still = _rows(graph, cost, limits.most_shift, limits.most_shift + 1)
    best = graph.op("Min", graph.op("Min", less, more), still)
    varies = graph.op("Sub", graph.op("ReduceMax", cost, [0]), best)
    tells = graph.op("Greater", varies, float(limits.least_contrast))
    better = graph.op("Add", graph.op("Mul", best, 1.3), 0.002)
    moved = graph.op("And", tells, graph.op("Greater", still, better))
    # With equal costs the smaller shift wins.
    backward = graph.op("And", moved, graph.op("LessOrEqual", less, more))
    forward = graph.op("And", moved, graph.op("Greater", less, more))
    cast = [graph.op("Cast", x, to=FLOAT) for x in (backward, forward, tells)]
    flags = graph.op("Concat", *cast, axis=0)  # (3, windows)
    of_axis = np.zeros((sum(bands), 2), np.float32)
    of_axis[: bands[0], 0] = of_axis[bands[0] :, 1] = 1
    counts = graph.reshape(graph.op("MatMul", flags, of_axis), 6)  # backward, forward, tells; of each along rows and columns
    ways = np.zeros((6, 5), np.float32)
    ways[[0, 2, 1, 3, 4, 5], [0, 1, 2, 3, 4, 4]] = 1
    graph.output(graph.op("MatMul", counts, ways), _VOTES)
    return graph


def _halves(most: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, most), (most + 1, 2 * most + 1)


def _along(graph: OnnxGraph, profiles: str, grid: tuple[int, int], side: int, axis: int) -> str:
    """Profiles of windows (windows, 2 * side) -> those of one axis, joined along it (bands, length)."""
    x = graph.reshape(graph.op("Slice", profiles, [axis * side], [(axis + 1) * side], [1]), *grid, side)
    if axis == 0:
        return graph.reshape(x, grid[0], -1)
    return graph.reshape(graph.op("Transpose", x, perm=[1, 0, 2]), grid[1], -1)


def _columns(graph: OnnxGraph, x: str, first: int, count: int) -> str:
    return graph.op("Slice", x, [first], [first + count], [1])


def _rows(graph: OnnxGraph, x: str, first: int, stop: int) -> str:
    return graph.op("Slice", x, [first], [stop], [0])
