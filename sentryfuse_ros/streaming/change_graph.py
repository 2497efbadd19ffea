"""The rule of change as an ONNX graph: many small steps, which cost less inside one call than one by one."""

from __future__ import annotations

import numpy as np

from ..runtime.onnx_graph import OnnxGraph
from ..runtime.onnx_patches import TINY
from .change_rule import ChangeRule

NOW, HELD, NOISE = "now", "held", "noise"  # inputs
SCORES, LARGEST, NEW_NOISE, TEXTURE = "scores", "largest", "new noise", "texture"  # outputs
_ENDLESS = 1e30
TOP_PATCHES = 6  # the change of a picture is the mean of its so many largest patch scores


def patch_means(channels: int, shape: tuple[int, int], window: int) -> np.ndarray:
    """(C * rows * columns, patches): pixels of a window of a shape (rows, columns) @ matrix are the means of its patches."""
    row, column = (np.arange(size) // (size // window) for size in shape)  # of the patch
    patch = (row[:, None] * window + column).ravel()
    one = (patch[:, None] == np.arange(window**2)).astype(np.float32)
    return np.tile(one / one.sum(0), (channels, 1)) / np.float32(channels)


def texture_rows(rule: ChangeRule) -> int:
    """In every so many-th of the rows that are compared, texture is measured: they are as far apart as every second column."""
    return max(2 * rule.steps[1] // rule.steps[0], 1)


def neighbour_steps(channels: int, shape: tuple[int, int], every: int) -> np.ndarray:
    """(C * rows * columns, pairs): pixels of a window of a shape (rows, columns) @ matrix are the steps from each pixel of the
    first channel to the next, in every so many-th row."""
    rows, columns = shape
    first = (np.arange(0, rows, every)[:, None] * columns + np.arange(columns - 1)).ravel()
    pixel = np.arange(channels * rows * columns)[:, None]
    return (pixel == first + 1).astype(np.float32) - (pixel == first).astype(np.float32)


def change_graph(
    rule: ChangeRule, windows: int, means: np.ndarray, has_holes: bool, steps: np.ndarray | None = None
) -> OnnxGraph:
    """How much each patch has changed, by a rule whose factor is above 0.

    NOW, HELD: pixels of the picture and of the one that is held, window by window, (windows, C * pixels). NOISE: learnt for every
    patch, (windows, patches). means: see `patch_means`. has_holes: whether 0 means that a pixel has no return. steps: see
    `neighbour_steps`.

    SCORES (windows,): of the patch in each window that changed most, above 1 where it counts as changed. LARGEST: the TOP_PATCHES
    largest scores of patches. NEW_NOISE (windows, patches) is made by the last step that reads NOISE, so that both may be one
    array. TEXTURE (), where there are steps: the sum of their absolute values.
    """
    graph = OnnxGraph()
    now, held = graph.input(NOW, [windows, len(means)]), graph.input(HELD, [windows, len(means)])
    noise = graph.input(NOISE, [windows, means.shape[1]])
    if has_holes:
        low, high = graph.op("Min", now, held), graph.op("Max", now, held)
        # TINY where both, or one of the two, have a return.
        both, either = (graph.op("Clip", x, 0.0, TINY) for x in (low, high))
        # All shares are in units of `flipped_share`, so that those of pixels that flipped are scores. A change divides by one.
        scale = means / np.float32(TINY * rule.flipped_share)
        share_both, share_either = (graph.op("MatMul", x, scale) for x in (both, either))
        difference = graph.op("MatMul", graph.op("Mul", graph.op("Sub", high, low), both), scale)
        flipped = graph.op("Sub", share_either, share_both)
        # A little less, since the share is a rounded sum.
        enough = graph.op("GreaterOrEqual", share_both, float(rule.least_share / rule.flipped_share * (1 - 1e-5)))
        # Where too few pixels have a return in both, nothing has changed, and nothing is learnt.
        change = graph.op("Div", difference, graph.op("Where", enough, share_both, _ENDLESS))
    else:
        change = graph.op("MatMul", graph.op("Abs", graph.op("Sub", now, held)), means)
    limit = graph.op("Clip", noise, float(rule.noise_floor), float(rule.noise_cap))
    limit = graph.op("Add", graph.op("Mul", limit, float(rule.factor)), float(rule.floor))
    scores = graph.op("Div", change, limit)
    if has_holes:
        scores = graph.op("Max", scores, flipped)
    learns = graph.op("LessOrEqual", scores, 1.0)
    if has_holes:
        learns = graph.op("And", learns, enough)
    learnt = graph.op("Mul", graph.op("Sub", change, noise), graph.op("Where", learns, float(rule.noise_rate), 0.0))
    graph.output(graph.op("Add", noise, learnt), NEW_NOISE)
    graph.output(graph.op("ReduceMax", scores, [1], keepdims=0), SCORES)
    graph.output(graph.largest(graph.reshape(scores, -1), min(TOP_PATCHES, windows * means.shape[1])), LARGEST)
    if steps is not None:
        graph.output(graph.op("ReduceL1", graph.op("MatMul", now, steps), keepdims=0), TEXTURE)
    return graph
