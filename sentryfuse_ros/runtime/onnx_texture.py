"""The statistics of pictures (`model.tokenizers.TextureStatistics`) as ONNX graphs."""

from __future__ import annotations

import numpy as np

from ..model.tokenizer_config import TEXTURE_SCALES
from .onnx_graph import OnnxGraph
from .onnx_pooling import pooling_matrix

ENERGY_FLOOR = 1e-5  # added to an energy before its logarithm, as in `TextureStatistics`


def _steps(upright: bool, height: int, width: int) -> list[tuple[int, int, int]]:
    """(rows, columns, axis) of every roughness, in the order of the weights."""
    steps = []
    for _ in range(TEXTURE_SCALES):
        steps += [(height, width, axis) for axis in ((-1, -2) if upright else (-1,))]
        height, width = height // (2 if upright else 1), width // 2
    return steps


def absent_statistics(upright: bool, channels: int, height: int, width: int, parts: tuple[int, ...]) -> np.ndarray:
    """Places of the statistics that no second difference exists for, because the picture is too small at that scale."""
    size = channels * parts[0] * parts[1]
    steps = _steps(upright, height, width)
    absent = [i for i, (h, w, axis) in enumerate(steps) if (w if axis == -1 else h) < 3]
    return np.array([size * (1 + i) + k for i in absent for k in range(size)], np.int64)


def whole_texture(
    graph: OnnxGraph, frames: str, upright: bool, channels: int, height: int, width: int, parts: tuple[int, ...]
) -> tuple[str, int]:
    """The same as `texture` for pictures in which every pixel is valid, in half of the time."""
    x = graph.reshape(frames, -1, channels, height * width)
    mean = _part_means(graph, x, channels, height, width, parts)
    weight, energies = np.array([[1, -2, 1]] * channels, np.float32).reshape(channels, 1, 3), []
    for scale in range(TEXTURE_SCALES):
        for axis in (-1, -2) if upright else (-1,):
            if (width if axis == -1 else height) < 3:
                energies.append(graph.op("Abs", mean))  # its weights are zero
                continue
            step = 1 if axis == -1 else width
            second = graph.op("Conv", x, weight, kernel_shape=[3], dilations=[step], pads=[step, step], group=channels)
            energies.append(_part_means(graph, graph.op("Mul", second, second), channels, height, width, parts, axis))
        if scale + 1 < TEXTURE_SCALES:
            x = _halve(graph, x, channels, height, width, upright)
            height, width = height // (2 if upright else 1), width // 2
    flat = parts[0] * parts[1]
    joined = graph.op("Add", graph.op("Concat", *energies, axis=1), np.array([ENERGY_FLOOR], np.float32))
    return graph.op("Concat", mean, graph.op("Log", joined), axis=1), channels * flat


def texture(
    graph: OnnxGraph,
    masked_frames: str,
    upright: bool,
    channels: int,
    height: int,
    width: int,
    parts: tuple[int, ...],
) -> tuple[str, int]:
    """Frames with their validity mask as the last plane (n, C + 1, H, W) -> statistics of every frame,
    (n, kinds * channels, parts), and how many numbers at their head are plain means.

    The order is that of `model.tokenizers.TextureStatistics`: the means, then the energies scale by scale. The picture and
    its mask go through every step as one tensor. Planes are flat, (n, C + 1, H * W):
    a second difference along a row or a column is then one convolution in one dimension, which is several times faster
    here than in two; what it gives across the ends of rows has no weight in the means that follow.
    """
    planes = channels + 1
    x = graph.reshape(masked_frames, -1, planes, height * width)
    pooled = [_part_means(graph, x, planes, height, width, parts)]  # each (n, C + 1, parts)
    # Second differences of the picture; of the mask the sum of three neighbours less two: 1 where all are valid.
    weight = np.array([[1, -2, 1]] * channels + [[1, 1, 1]], np.float32).reshape(planes, 1, 3)
    bias = np.array([0] * channels + [-2], np.float32)
    for scale in range(TEXTURE_SCALES):
        for axis in (-1, -2) if upright else (-1,):
            if (width if axis == -1 else height) < 3:
                # The picture is too small for this one: its weights are zero, so any number that has a logarithm will do.
                pooled.append(graph.op("Abs", pooled[0]))
                continue
            step = 1 if axis == -1 else width
            both = graph.op("Conv", x, weight, bias, kernel_shape=[3], dilations=[step], pads=[step, step], group=planes)
            second, whole = _split_mask(graph, both, channels)
            whole = graph.op("Relu", whole)
            second = graph.op("Mul", second, whole)
            both = graph.op("Concat", graph.op("Mul", second, second), whole, axis=1)
            pooled.append(_part_means(graph, both, planes, height, width, parts, axis))
        if scale + 1 < TEXTURE_SCALES:
            x, share = _split_mask(graph, _halve(graph, x, planes, height, width, upright), channels)
            height, width = height // (2 if upright else 1), width // 2
            # A coarse pixel counts where at least half of it is valid; share is a multiple of 1 / area.
            area = 4.0 if upright else 2.0
            valid = graph.op("HardSigmoid", share, alpha=area, beta=1.0 - area / 2)
            x = graph.op("Mul", x, graph.op("Div", valid, graph.op("Max", share, np.array([0.25], np.float32))))
            x = graph.op("Concat", x, valid, axis=1)
    flat = parts[0] * parts[1]
    joined = graph.op("Concat", *pooled, axis=1)
    joined = graph.reshape(joined, -1, len(pooled), planes, flat)
    sums = graph.op("Slice", joined, [0], [channels], [2])
    shares = graph.op("Slice", joined, [channels], [planes], [2])
    ratios = graph.op("Div", sums, graph.op("Max", shares, np.array([1e-3], np.float32)))
    means = graph.op("Slice", ratios, [0], [1], [1])
    energies = graph.op(
        "Log", graph.op("Add", graph.op("Slice", ratios, [1], [len(pooled)], [1]), np.array([ENERGY_FLOOR], np.float32))
    )
    return graph.op("Concat", means, energies, axis=1), channels * flat


def _halve(graph: OnnxGraph, x: str, planes: int, height: int, width: int, upright: bool) -> str:
    """Flat planes (n, planes, H * W) -> means over 2 x 2 pixels, or over 2 in a row; a last odd row or column is left out."""
    if width % 2 or (upright and height % 2):
        size = [2, 2] if upright else [1, 2]
        weight = np.full((planes, 1, *size), 1 / (size[0] * size[1]), np.float32)
        x = graph.reshape(x, -1, planes, height, width)
        x = graph.op("Conv", x, weight, kernel_shape=size, strides=size, group=planes)
    else:
        weight = np.full((planes, 1, 2), 0.25 if upright else 0.5, np.float32)
        x = graph.op("Conv", x, weight, kernel_shape=[2], strides=[2], group=planes)
        if upright:
            x = graph.op("ReduceSum", graph.reshape(x, -1, height // 2, 2, width // 2), [2], keepdims=0)
    return graph.reshape(x, -1, planes, (height // (2 if upright else 1)) * (width // 2))


def _split_mask(graph: OnnxGraph, x: str, channels: int) -> tuple[str, str]:
    """(n, C + 1, ...) -> the picture (n, C, ...) and its mask (n, 1, ...)."""
    return graph.op("Slice", x, [0], [channels], [1]), graph.op("Slice", x, [channels], [channels + 1], [1])


def _part_means(graph: OnnxGraph, x: str, planes: int, height: int, width: int, parts: tuple[int, ...], axis: int = 0) -> str:
    """Flat planes (n, planes, H * W) -> (n, planes, parts) as adaptive average pooling gives them.

    ``axis`` -1 leaves out the first and last column, -2 the first and last row, where a second difference has no meaning.
    Rows are pooled before columns: one product with all weights at once would read more weights than the picture has pixels.
    """
    if parts[0] != height or axis == -2:
        by_row = pooling_matrix(height, parts[0], axis == -2)
        x = graph.op("MatMul", by_row.T, graph.reshape(x, -1, planes, height, width))
    x = graph.op("MatMul", graph.reshape(x, -1, width), pooling_matrix(width, parts[1], axis == -1))
    return graph.reshape(x, -1, planes, parts[0] * parts[1])
