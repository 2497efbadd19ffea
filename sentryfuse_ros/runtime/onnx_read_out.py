"""The read-out of a patch encoder for a stream, as an ONNX graph: in large pictures its first convolution, which is most of it,
runs only where it sees a new code.

Codes and channels lie place by place, as they are kept, so that a convolution gathers the rows that it sees and is a product.
Behind the last place there is a row of zeros, which stands for everything outside of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..model.patch_config import READ_KERNEL, READ_STRIDE, PatchTokenizerConfig, read_names
from ..preprocessing import ModalitySpec
from .onnx_graph import OnnxGraph
from .onnx_pooling import pooling_matrix

FEW_PLACES = 32  # up to so many places, a convolution at all of them takes no longer than finding those that see a new code


def seen_places(rows: int, columns: int) -> np.ndarray:
    """(places behind a convolution, READ_KERNEL ** 2): which places of a grid each one sees; rows * columns stands for none."""
    reach = np.arange(READ_KERNEL) - READ_KERNEL // 2
    row, column = (np.arange(0, size, READ_STRIDE)[:, None] + reach for size in (rows, columns))
    row, column = row[:, None, :, None], column[None, :, None, :]
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return np.where(inside, row * columns + column, rows * columns).reshape(-1, READ_KERNEL**2)


def kept_rows(spec: ModalitySpec, options: PatchTokenizerConfig) -> int:
    """Rows of features that a stream keeps: of every place, and one of zeros. 0 where all are made each time."""
    places = math.prod(options.read_grids(spec)[0])
    return places + 1 if places > FEW_PLACES else 0


def read_anew(
    graph: OnnxGraph,
    codes: str,
    windows: str,
    features: str | None,
    spec: ModalitySpec,
    options: PatchTokenizerConfig,
    weights: Mapping[str, np.ndarray],
) -> tuple[str, str]:
    """Codes (windows + 1, code), of which those of ``windows`` (n, 1) are new -> token (1, D), and the features of the first
    convolution, renewed.

    ``features`` (`kept_rows`, channels): as they were before, where they are kept. The last row of these, and of the codes, is 0.
    """
    sees, grids = seen_places(*options.window_grid(spec)), options.read_grids(spec)
    first, *further = read_names(options)
    blank = int(features is not None)  # rows of zeros behind the places
    if features is None:
        features = _convolution(graph, codes, sees, weights, first)
    else:
        reached = np.array([(sees == window).any(1) for window in range(sees.max())], np.float32)  # (windows, places)
        reached_now = graph.op("ReduceMax", graph.op("Gather", reached, windows, axis=0), [0, 1], keepdims=0)
        places = graph.reshape(graph.op("NonZero", reached_now), -1, 1)
        new = _convolution(graph, codes, graph.op("Gather", sees, places, axis=0), weights, first)
        features = graph.op("ScatterND", features, places, new)
    x = features
    for name, grid, width in zip(further, grids, options.reads[1:]):
        if not blank:
            x = graph.op("Concat", x, np.zeros((1, width), np.float32), axis=0)
        x, blank = _convolution(graph, x, seen_places(*grid), weights, name), 0
    (rows, columns), width = grids[-1], options.reads[-1]
    mix = weights["mix.weight"].reshape(-1, width, options.grid[0] * options.grid[1]).transpose(2, 1, 0)  # (parts, width, D)
    if (rows, columns) != tuple(options.grid):
        parts = np.kron(pooling_matrix(rows, options.grid[0]), pooling_matrix(columns, options.grid[1])).T
        x = graph.op("MatMul", np.pad(parts, ((0, 0), (0, blank))), x)
    elif blank:
        mix = np.pad(mix, ((0, blank), (0, 0), (0, 0)))
    x = graph.reshape(x, 1, mix.shape[0] * mix.shape[1])
    return graph.op("Gemm", x, mix.reshape(-1, mix.shape[2]), weights["mix.bias"]), features


def _convolution(graph: OnnxGraph, x: str, sees: str | np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> str:
    """(places, C) -> (m, C') at the m places that see ``sees``, with the activation behind it."""
    kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
    kernel = kernel.reshape(-1, kernel.shape[3])
    x = graph.reshape(graph.op("Gather", x, sees, axis=0), -1, len(kernel))
    return graph.op("Gelu", graph.op("Gemm", x, kernel, weights[f"{name}.bias"]))
