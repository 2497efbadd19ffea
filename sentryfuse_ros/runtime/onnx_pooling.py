"""Adaptive average pooling in ONNX graphs, cut as torch cuts it."""

from __future__ import annotations

import numpy as np

from .onnx_graph import OnnxGraph


def adaptive_bounds(size: int, parts: int) -> list[tuple[int, int]]:
    """First and past-the-last entry of each part, as torch's adaptive average pooling cuts them."""
    return [(i * size // parts, -(-(i + 1) * size // parts)) for i in range(parts)]


def pooling_matrix(size: int, parts: int, border: bool = False) -> np.ndarray:
    """(size, parts): x @ matrix is adaptive average pooling; with a ``border`` of all entries but the first and the last."""
    matrix, first_entry = np.zeros((size, parts), np.float32), int(border)
    for column, (first, stop) in enumerate(adaptive_bounds(size - 2 * first_entry, parts)):
        matrix[first_entry + first : first_entry + stop, column] = 1 / (stop - first)
    return matrix


def adaptive_pool(graph: OnnxGraph, x: str, rows: int, columns: int, grid: tuple[int, ...], channels: int) -> str:
    """(n, channels, rows, columns) -> (n, channels * grid), the means over the parts of a grid."""
    if (rows, columns) != grid:
        kernels, strides = [], []
        for size, parts in ((rows, grid[0]), (columns, grid[1])):
            bounds = adaptive_bounds(size, parts)
            widths = {stop - first for first, stop in bounds}
            steps = {b[0] - a[0] for a, b in zip(bounds, bounds[1:])} or {1}
            kernels.append(widths.pop() if len(widths) == 1 and len(steps) == 1 else 0)
            strides.append(steps.pop())
        if all(kernels) and all(strides):
            x = graph.op("AveragePool", x, kernel_shape=kernels, strides=strides)
        else:
            x = graph.op("MatMul", x, pooling_matrix(columns, grid[1]))
            x = graph.op("MatMul", pooling_matrix(rows, grid[0]).T, x)
    return graph.reshape(x, -1, channels * grid[0] * grid[1])
