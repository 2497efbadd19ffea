"""The tokenisers of `model.tokenizers` as ONNX graphs, built from their weights.

The same numbers with fewer operations than torch runs: a group norm of one group is one LayerNormalization, affine steps
before a linear layer are folded into its weights, and all statistics of a picture share one division and one logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..model.tokenizer_config import SERIES_KERNEL, TEXTURE_SCALES, FrameTokenizerConfig, SeriesTokenizerConfig
from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind
from .onnx_graph import OnnxGraph

Weights = Mapping[str, np.ndarray]
MAX_POOLING_WEIGHTS = 1 << 17  # larger pictures are pooled by rows and columns apart
NORM_EPSILON = 1e-5  # torch's default for GroupNorm and LayerNorm
TokenValues = tuple[str, str]  # names of values in a graph: tokens (n, D); seen (n,), 1 where the token saw any data


def frame_tokenizer(
    graph: OnnxGraph, name: str, spec: ModalitySpec, options: FrameTokenizerConfig, weights: Weights
) -> TokenValues:
    """Write a FrameTokenizer into a graph: input ``name`` (n, C, H, W), n any multiple of frames_per_token, oldest first."""
    _, channels, height, width = spec.shape
    patch, motion, validity = options.frames_per_token, options.motion, options.validity_mask
    frames = graph.input(name, ["n", channels, height, width])
    crop = options.crop_columns or width
    if crop != width:
        first = (width - crop) // 2
        frames = graph.op("Slice", frames, [first], [first + crop], [3])
        width = crop
    valid_any = ""
    if validity == "one" or options.statistics:
        valid_any = graph.op("Sign", graph.op("ReduceL1", frames, [1], keepdims=1))  # (n, 1, H, W)
        has_frame = graph.op("ReduceMax", valid_any, [1, 2, 3], keepdims=0)  # (n,)
    else:
        has_frame = graph.op("Sign", graph.op("ReduceL1", frames, [1, 2, 3], keepdims=0))
    seen = graph.op("ReduceMax", graph.reshape(has_frame, -1, patch), [1], keepdims=0) if patch > 1 else has_frame
    x = frames
    if validity == "each":
        x = graph.op("Concat", x, graph.op("Sign", graph.op("Abs", frames)), axis=1)
    elif validity == "one":
        x = graph.op("Concat", x, valid_any, axis=1)
    if motion != "none":
        x = _motion(graph, x, has_frame, spec.shape[0], also=motion == "also")
    planes = options.planes(spec)
    x = graph.reshape(x, -1, planes, height, width) if patch > 1 else x

    rows, columns = height, width
    for i, (count, kernel) in enumerate(zip(options.stem_channels, options.kernels())):
        x = graph.op(
            "Conv",
            x,
            weights[f"convs.{i}.weight"],
            weights[f"convs.{i}.bias"],
            kernel_shape=[kernel, kernel],
            strides=[2, 2],
            pads=[kernel // 2] * 4,
        )
        rows, columns = -(-rows // 2), -(-columns // 2)
        gain, offset = weights[f"norms.{i}.weight"], weights[f"norms.{i}.bias"]
        x = graph.op("Gelu", _whole_norm(graph, x, gain, offset, (count, rows, columns)))
    features = [adaptive_pool(graph, x, rows, columns, options.grid, options.stem_channels[-1])]
    matrix, bias = [weights["mix.weight"]], weights["mix.bias"]
    if options.statistics:
        parts, upright = options.statistics, sensor_kind(spec.kind).rows_adjoin
        found, means = _texture(graph, frames, valid_any, upright, channels, height, width, parts)
        found_size = options.statistics_size(spec)
        features.append(graph.reshape(found, -1, patch * found_size))
        # (log + 4) / 3 of the energies is folded into the layer that mixes them; the means are taken as they are.
        mix = weights["statistics.mix.weight"].reshape(-1, patch, found_size)
        scale, offset = np.full(found_size, 1 / 3), np.full(found_size, 4 / 3)
        scale[:means], offset[:means] = 1.0, 0.0
        absent = _absent_statistics(upright, channels, height, width, parts)
        scale[absent], offset[absent] = 0.0, 0.0
        bias = bias + weights["statistics.mix.bias"] + (mix * offset).sum((1, 2))
        matrix.append((mix * scale).reshape(len(mix), -1))
    joined = features[0] if len(features) == 1 else graph.op("Concat", *features, axis=1)
    return graph.op("Gemm", joined, np.concatenate(matrix, 1).T, bias), seen


def series_tokenizer(
    graph: OnnxGraph, name: str, spec: ModalitySpec, options: SeriesTokenizerConfig, weights: Weights
) -> TokenValues:
    """Write a SeriesTokenizer into a graph: input ``name`` (T, C)."""
    length, channels = spec.shape
    patch = options.steps_per_token
    count, width = length // patch, options.stem_channels
    steps = graph.input(name, [length, channels])
    valid = graph.op("Sign", graph.op("ReduceL1", steps, [1], keepdims=1))  # (T, 1)
    seen = graph.op("ReduceMax", graph.reshape(valid, count, patch), [1], keepdims=0)
    x = graph.op("Transpose", graph.op("Concat", steps, valid, axis=1), perm=[1, 0])
    x = graph.reshape(x, 1, channels + 1, length)
    x = graph.op(
        "Conv",
        x,
        weights["conv.weight"],
        weights["conv.bias"],
        kernel_shape=[SERIES_KERNEL],
        pads=[SERIES_KERNEL // 2] * 2,
    )
    x = graph.op("Gelu", _whole_norm(graph, x, weights["norm.weight"], weights["norm.bias"], (width, length)))
    x = graph.op("Transpose", graph.reshape(x, width, count, patch), perm=[1, 0, 2])
    features = [graph.reshape(x, count, width * patch)]
    d_model = len(weights["mix.bias"])
    matrix, bias = [weights["mix.weight"].reshape(d_model, -1)], weights["mix.bias"]
    spectrum_steps = options.spectrum_steps
    if spectrum_steps:
        bins = options.spectrum_bins()
        features.append(_log_power(graph, steps, length, channels, patch, spectrum_steps))
        # (log + 7) / 3 is folded into the layer; its weights are by (channel, bin), the features by (bin, channel).
        mix = weights["spectrum.mix.weight"].reshape(d_model, channels, bins).transpose(0, 2, 1).reshape(d_model, -1)
        bias = bias + weights["spectrum.mix.bias"] + mix.sum(1) * (7 / 3)
        matrix.append(mix / 3)
    joined = features[0] if len(features) == 1 else graph.op("Concat", *features, axis=1)
    return graph.op("Gemm", joined, np.concatenate(matrix, 1).T, bias), seen


def spectrum_basis(steps: int) -> np.ndarray:
    """Cosines and sines (2 * bins, steps) under a Hann window of sum 1, as `model.tokenizers.PowerSpectrum` has them."""
    step, frequency = np.arange(steps, dtype=np.float64), np.arange(steps // 2 + 1, dtype=np.float64)[:, None]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * step / steps)
    angle = 2 * np.pi * frequency * step / steps
    return (np.concatenate([np.cos(angle), np.sin(angle)]) * window / window.sum()).astype(np.float32)


def _log_power(graph: OnnxGraph, steps: str, length: int, channels: int, hop: int, size: int) -> str:
    """(T, C) -> logarithm of the power spectrum around every token, (T / hop, bins * C), bin by bin."""
    before = (size - hop) // 2
    after, bins, count = size - hop - before, size // 2 + 1, length // hop
    part = graph.op(
        "Conv",
        graph.reshape(steps, 1, 1, length, channels),
        spectrum_basis(size)[:, None, :, None],
        kernel_shape=[size, 1],
        strides=[hop, 1],
        pads=[before, 0, after, 0],
    )  # (1, 2 bins, count, C)
    squares = graph.reshape(graph.op("Mul", part, part), 2, bins * count * channels)
    power = graph.op("MatMul", np.ones((1, 2), np.float32), squares)  # a sum over so few rows takes ReduceSum five times as long
    log = graph.op("Log", graph.op("Add", power, np.array([1e-6], np.float32)))
    log = graph.op("Transpose", graph.reshape(log, bins, count, channels), perm=[1, 0, 2])
    return graph.reshape(log, count, bins * channels)


def _whole_norm(graph: OnnxGraph, x: str, gain: np.ndarray, bias: np.ndarray, shape: tuple[int, ...]) -> str:
    """Group norm with one group over (n, *shape); gain and bias per channel."""
    spread = (len(gain),) + (1,) * (len(shape) - 1)
    full = (np.ascontiguousarray(np.broadcast_to(v.reshape(spread), shape)) for v in (gain, bias))
    return graph.op("LayerNormalization", x, *full, axis=1, epsilon=NORM_EPSILON)


def _motion(graph: OnnxGraph, x: str, has_frame: str, count: int, also: bool) -> str:
    """Difference to the frame before, zero for the first frame and beside an empty slot."""
    before = np.maximum(np.arange(count) - 1, 0)
    pair = graph.op("Mul", has_frame, graph.op("Gather", has_frame, before, axis=0))  # (n,)
    change = graph.op("Sub", x, graph.op("Gather", x, before, axis=0))
    change = graph.op("Mul", change, graph.reshape(pair, -1, 1, 1, 1))
    return graph.op("Concat", x, change, axis=1) if also else change


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


def _texture_steps(upright: bool, height: int, width: int) -> list[tuple[int, int, int]]:
    """(rows, columns, axis) of every roughness, in the order of the weights."""
    steps = []
    for _ in range(TEXTURE_SCALES):
        steps += [(height, width, axis) for axis in ((-1, -2) if upright else (-1,))]
        height, width = height // (2 if upright else 1), width // 2
    return steps


def _absent_statistics(upright: bool, channels: int, height: int, width: int, parts: tuple[int, ...]) -> np.ndarray:
    """Places of the statistics that no second difference exists for, because the picture is too small at that scale."""
    size = channels * parts[0] * parts[1]
    steps = _texture_steps(upright, height, width)
    absent = [i for i, (h, w, axis) in enumerate(steps) if (w if axis == -1 else h) < 3]
    return np.array([size * (1 + i) + k for i in absent for k in range(size)], np.int64)


def _texture(
    graph: OnnxGraph,
    frames: str,
    valid: str,
    upright: bool,
    channels: int,
    height: int,
    width: int,
    parts: tuple[int, ...],
) -> tuple[str, int]:
    """Statistics of every frame, (n, kinds * channels, parts), and how many numbers at their head are plain means.

    The order is that of `model.tokenizers.TextureStatistics`: the means, then the energies scale by scale. The picture and
    its validity mask go through every step as one tensor of C + 1 planes, the mask last. Planes are flat, (n, C + 1, H * W):
    a second difference along a row or a column is then one convolution in one dimension, which is several times faster
    here than in two; what it gives across the ends of rows has no weight in the means that follow.
    """
    planes = channels + 1
    x = graph.reshape(graph.op("Concat", frames, valid, axis=1), -1, planes, height * width)
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
    energies = graph.op("Log", graph.op("Add", graph.op("Slice", ratios, [1], [len(pooled)], [1]), np.array([1e-5], np.float32)))
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
    """
    by_row, by_column = pooling_matrix(height, parts[0], axis == -2), pooling_matrix(width, parts[1], axis == -1)
    whole_rows = parts[0] == height and axis != -2
    if not whole_rows and height * width * parts[0] * parts[1] <= MAX_POOLING_WEIGHTS:
        return graph.op("MatMul", x, np.einsum("hi,wj->hwij", by_row, by_column).reshape(height * width, -1))
    x = graph.op("MatMul", graph.reshape(x, -1, planes, height, width), by_column)
    if not whole_rows:
        x = graph.op("MatMul", by_row.T, x)
    return graph.reshape(x, -1, planes, parts[0] * parts[1])
