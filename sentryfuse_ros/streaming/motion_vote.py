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
_PIXELS, _KEYS = "pixels", ("key along rows", "key along columns")  # inputs of the graph


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
        graph, shapes, outputs = _vote_graph(grid, side, channels, self.limits)
        self._session = make_session(graph)
        self._keys, self._now = ([np.zeros(shape, np.float32) for shape in shapes] for _ in range(2))
        self._votes = np.zeros((3, 2), np.float32)
        self._has_key = False
        self._binding: Any = self._session.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        for name, array in zip(_KEYS, self._keys):
            self._binding.bind_ortvalue_input(name, value(array))
        for name, array in zip(outputs, (*self._now, self._votes)):
            self._binding.bind_ortvalue_output(name, value(array))

    def reset(self) -> None:
        """Forget the key picture."""
        self._has_key = False

    def moved(self, pixels: np.ndarray) -> bool:
        """Whether a picture, window by window (windows, C * side * side), has moved against the key picture. It becomes the key
        where it has, or where there is none."""
        self._binding.bind_cpu_input(_PIXELS, pixels)
        self._session.run_with_iobinding(self._binding)
        back, moved, told = self._votes.tolist()
        most = max(*back, moved[0] - back[0], moved[1] - back[1])
        found = self._has_key and most >= max(self.limits.agreeing, self.limits.agreeing_share * sum(told) / 2)
        if found or not self._has_key:
            self._has_key = True
            for key, now in zip(self._keys, self._now):
                key[...] = now
        return found


def _vote_graph(
    grid: tuple[int, int], side: int, channels: int, limits: MotionLimits
) -> tuple[OnnxGraph, list[list[int]], list[str]]:
    """The graph, the shapes of the profiles along both axes (length, bands), and the names of the outputs.

    Inputs _PIXELS (windows, C * side * side) and the two _KEYS, profiles of the key picture; outputs the profiles of this one
    along both axes, and the votes (3, 2): how many windows moved back, moved at all, and could tell, along either axis.
    """
    graph, (rows, columns), most = OnnxGraph(), grid, limits.most_shift
    pixels = graph.input(_PIXELS, [rows * columns, channels * side * side])
    pool = np.zeros((channels, side, side, 2, side), np.float32)  # over the rows, over the columns
    for i in range(side):
        pool[0, :, i, 0, i] = pool[0, i, :, 1, i] = 1 / side
    means = pool.reshape(-1, 2 * side)
    share = graph.op("Max", graph.op("MatMul", graph.op("Clip", pixels, 0.0, TINY), means / TINY), 1e-3)
    profiles = graph.op("Div", graph.op("MatMul", pixels, means), share)
    profiles = graph.reshape(profiles, rows, columns, 2, side)
    outputs, costs, shapes, of_axis = [], [], [], []
    for axis, order in enumerate(([1, 2, 3, 0], [0, 2, 3, 1])):
        length, bands = (columns * side, rows) if axis == 0 else (rows * side, columns)
        inner = length - 2 * most
        if inner < 1:
            raise ParameterError("motion most_shift", most, f"less than half of {length} pixels", "choose a smaller one")
        own = graph.op("Transpose", graph.op("Gather", profiles, [axis], axis=2), perm=order)
        own = graph.reshape(own, length, bands)
        outputs.append(graph.expose(own))
        shifted = graph.op("Gather", own, np.arange(2 * most + 1)[:, None] + np.arange(inner), axis=0)  # (shifts, inner, bands)
        held = graph.op("Slice", graph.input(_KEYS[axis], [length, bands]), [most], [most + inner], [0])
        off = graph.op("Min", graph.op("Abs", graph.op("Sub", shifted, held)), _CONFLICT_M)
        starts = np.arange(0, max(inner - side // 2, 1), side)
        window = np.searchsorted(starts, np.arange(inner), "right") - 1
        sums = (window == np.arange(len(starts))[:, None]).astype(np.float32) / np.float32(side)
        costs.append(graph.reshape(graph.op("MatMul", sums, off), 2 * most + 1, -1))
        shapes.append([length, bands])
        of_axis += [axis] * (len(starts) * bands)
    cost = graph.op("Concat", *costs, axis=1)  # (shifts, windows along the rows and along the columns)
    best, still = graph.op("ReduceMin", cost, [0]), graph.op("Gather", cost, [most], axis=0)
    varies = graph.op("Sub", graph.op("ReduceMax", cost, [0]), best)
    tells = graph.op("Greater", varies, float(limits.least_contrast))
    moved = graph.op("Greater", still, graph.op("Add", graph.op("Mul", best, 1.3), 0.002))
    moved = graph.op("And", tells, moved)
    back = graph.op("And", moved, graph.op("Less", graph.op("ArgMin", cost, axis=0), [most]))
    flags = graph.op("Cast", graph.op("Concat", back, moved, tells, axis=0), to=FLOAT)  # (3, windows)
    outputs.append(graph.expose(graph.op("MatMul", flags, np.eye(2, dtype=np.float32)[of_axis])))
    return graph, shapes, outputs
