"""Whether a picture has moved as a whole: the windows compare their profiles with those of a key picture and vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime

from ..errors import ParameterError
from ..runtime.onnx_graph import FLOAT, OnnxGraph
from ..runtime.onnx_patches import TINY
from ..runtime.onnx_session import bound_session, make_session
from ..validation import Count, Positive, Share, check

_CONFLICT_M = 0.2  # a depth is compared up to this difference, so that an edge counts no more than a face
_PIXELS, _KEY = "pixels", "key"  # inputs of the graph


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

    def __init__(self, grid: tuple[int, int], shape: tuple[int, int], limits: MotionLimits | None = None, channels: int = 1):
        """grid: rows and columns of windows. shape: of a window, rows and columns of pixels. The first of the ``channels`` is
        looked at.

        Raises ParameterError where a picture is no larger than the shifts.
        """
        self.limits = limits or MotionLimits()
        graph, outputs = _vote_graph(grid, shape, channels, self.limits)
        session = make_session(graph)
        self._key, self._now = (np.zeros((2, _longest(grid, shape), max(grid)), np.float32) for _ in range(2))
        self._votes = np.zeros((3, 2), np.float32)  # see `_vote_graph`
        self._has_key = False
        self._pixels: np.ndarray | None = None  # what is bound
        self._bound = bound_session(session, session.io_binding())
        binding = self._bound.binding
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        binding.bind_ortvalue_input(_KEY, value(self._key))
        for name, array in zip(outputs, (self._now, self._votes.ravel())):
            binding.bind_ortvalue_output(name, value(array))

    def reset(self) -> None:
        """Forget the key picture."""
        self._has_key = False

    def moved(self, pixels: np.ndarray) -> bool:
        """Whether a picture, window by window (windows, C * pixels), has moved against the key picture. It becomes the key where
        it has, or where there is none. Bringing the same array each time, with new pixels, saves some microseconds."""
        if pixels is not self._pixels:
            self._pixels = np.ascontiguousarray(pixels, np.float32)
            self._bound.binding.bind_ortvalue_input(_PIXELS, onnxruntime.OrtValue.ortvalue_from_numpy(self._pixels))
        self._bound.run()
        back, moved, told = self._votes.tolist()
        most = max(*back, moved[0] - back[0], moved[1] - back[1])
        found = self._has_key and most >= max(self.limits.agreeing, self.limits.agreeing_share * sum(told) / 2)
        if found or not self._has_key:
            self._has_key = True
            self._key[...] = self._now
        return found


def _vote_graph(
    grid: tuple[int, int], shape: tuple[int, int], channels: int, limits: MotionLimits
) -> tuple[OnnxGraph, list[str]]:
    """The graph, and the names of its outputs.

    Inputs _PIXELS (windows, C * pixels) and _KEY, the profiles of the key picture along rows and along columns (2, length,
    bands). A band is a row of windows, or a column of them. Where the picture is not square, the shorter axis is filled up with
    zeros, and so is the one with fewer bands. Outputs: the profiles of this picture, and the votes (3 * 2,): how many windows
    moved back, moved at all, and could tell, along either axis.
    """
    graph, most, (high, wide), length = OnnxGraph(), limits.most_shift, shape, _longest(grid, shape)
    pixels = graph.input(_PIXELS, [grid[0] * grid[1], channels * high * wide])
    # Means over the rows of a window, means over its columns, and a zero to fill up with.
    pool = np.zeros((channels, high, wide, wide + high + 1), np.float32)
    for i in range(wide):
        pool[0, :, i, i] = 1 / high
    for i in range(high):
        pool[0, i, :, wide + i] = 1 / wide
    means = pool.reshape(channels * high * wide, -1)
    share = graph.op("Max", graph.op("MatMul", graph.op("Clip", pixels, 0.0, TINY), means / TINY), 1e-3)
    profiles = graph.op("Div", graph.op("MatMul", pixels, means), share)
    own = graph.op("Gather", graph.reshape(profiles, -1), _places(grid, shape), axis=0)
    sums = np.zeros((2, 1, max(grid), length - 2 * most), np.float32)
    for axis, (size, side) in enumerate(((grid[1], wide), (grid[0], high))):
        of_axis = _sums(size * side, length, side, most)
        sums[axis, 0, : len(of_axis)] = of_axis
    shifts = np.arange(2 * most + 1)[:, None] + np.arange(length - 2 * most)
    shifted = graph.op("Gather", own, shifts, axis=1)  # (2, shifts, inner, bands)
    held = graph.op("Gather", graph.input(_KEY, [2, length, max(grid)]), shifts[most : most + 1], axis=1)
    off = graph.op("Min", graph.op("Abs", graph.op("Sub", shifted, held)), _CONFLICT_M)
    cost = graph.reshape(graph.op("MatMul", sums, off), 2, 2 * most + 1, -1)  # (2, shifts, windows)
    best, still = graph.op("ReduceMin", cost, [1]), graph.op("Slice", cost, [most], [most + 1], [1])  # (2, 1, windows)
    varies = graph.op("Sub", graph.op("ReduceMax", cost, [1]), best)
    tells = graph.op("Greater", varies, float(limits.least_contrast))
    moved = graph.op("Greater", still, graph.op("Add", graph.op("Mul", best, 1.3), 0.002))
    moved = graph.op("And", tells, moved)
    back = graph.op("And", moved, graph.op("Less", graph.op("ArgMin", cost, axis=1), [most]))
    flags = graph.op("Cast", graph.op("Concat", back, moved, tells, axis=0), to=FLOAT)  # (3 * 2, 1, windows)
    return graph, [graph.expose(own), graph.expose(graph.op("ReduceSum", flags, [1, 2], keepdims=0))]


def _longest(grid: tuple[int, int], shape: tuple[int, int]) -> int:
    """Pixels of a picture along its longer axis."""
    return max(grid[0] * shape[0], grid[1] * shape[1])


def _places(grid: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Where in the profiles of all windows (windows, columns + rows + 1) those along either axis are (2, length, bands)."""
    (rows, columns), (high, wide) = grid, shape
    every = wide + high + 1
    places = np.full((2, _longest(grid, shape), max(grid)), every - 1)  # the zero of the first window
    start = np.arange(rows * columns).reshape(grid) * every
    along_rows = start[:, :, None] + np.arange(wide)
    along_columns = start.T[:, :, None] + wide + np.arange(high)
    places[0, : columns * wide, :rows] = along_rows.reshape(rows, -1).T
    places[1, : rows * high, :columns] = along_columns.reshape(columns, -1).T
    return places


def _sums(own: int, length: int, side: int, most: int) -> np.ndarray:
    """(windows, length - 2 * most): which inner pixels of an axis of ``own`` pixels belong to which window, over ``side``."""
    inner = own - 2 * most
    if inner < 1:
        raise ParameterError("motion most_shift", most, f"less than half of {own} pixels", "choose a smaller one")
    starts = np.arange(0, max(inner - side // 2, 1), side)
    window = np.searchsorted(starts, np.arange(length - 2 * most), "right") - 1
    window[inner:] = -1  # what the axis was filled up with
    found: np.ndarray = (window == np.arange(len(starts))[:, None]) / np.float32(side)
    return found
