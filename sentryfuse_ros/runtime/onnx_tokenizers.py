"""The tokenisers of `model.tokenizers` as ONNX graphs, built from their weights.

The same numbers with fewer operations than torch runs: a group norm of one group is one LayerNormalization, affine steps
before a linear layer are folded into its weights, and all statistics of a picture share one division and one logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..model.tokenizer_config import SERIES_KERNEL, FrameTokenizerConfig, SeriesTokenizerConfig
from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind
from .onnx_graph import OnnxGraph
from .onnx_pooling import adaptive_pool
from .onnx_texture import absent_statistics, texture, whole_texture
from .plan_inputs import SPECTRUM

Weights = Mapping[str, np.ndarray]
NORM_EPSILON = 1e-5  # torch's default for GroupNorm and LayerNorm


def frame_tokenizer(
    graph: OnnxGraph, name: str, spec: ModalitySpec, options: FrameTokenizerConfig, weights: Weights, whole: bool = False
) -> str:
    """Write a FrameTokenizer into a graph: input ``name`` (n, C, H, W), oldest first -> tokens (n / frames_per_token, D).

    If the stem ``sees_valid_pixels``, the input is that of `picture_session.with_valid_pixels`, (n, C + 1, H, W). ``whole``: the
    graph will only be given pictures in which every pixel is valid, and without that plane; `gains_from_whole` says where that
    saves time.
    """
    _, channels, height, width = spec.shape
    patch, motion, validity = options.frames_per_token, options.motion, options.validity_mask
    with_valid = options.sees_valid_pixels and not whole
    frames = graph.input(name, ["n", channels + with_valid, height, width])
    crop = options.crop_columns or width
    if crop != width:
        first = (width - crop) // 2
        frames = graph.op("Slice", frames, [first], [first + crop], [3])
        width = crop
    x = frames
    if with_valid and validity != "one":
        x = graph.op("Slice", frames, [0], [channels], [1])
    if validity == "each":
        x = graph.op("Concat", x, graph.op("Sign", graph.op("Abs", x)), axis=1)
    if motion != "none":
        has_frame = graph.op("Sign", graph.op("ReduceL1", frames, [1, 2, 3], keepdims=0))  # (n,)
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
        size = upright, channels, height, width, parts
        found, means = whole_texture(graph, frames, *size) if whole else texture(graph, frames, *size)
        found_size = options.statistics_size(spec)
        features.append(graph.reshape(found, -1, patch * found_size))
        # (log + 4) / 3 of the energies is folded into the layer that mixes them; the means are taken as they are.
        mix = weights["statistics.mix.weight"].reshape(-1, patch, found_size)
        scale, offset = np.full(found_size, 1 / 3), np.full(found_size, 4 / 3)
        scale[:means], offset[:means] = 1.0, 0.0
        absent = absent_statistics(upright, channels, height, width, parts)
        scale[absent], offset[absent] = 0.0, 0.0
        bias = bias + weights["statistics.mix.bias"] + (mix * offset).sum((1, 2))
        matrix.append((mix * scale).reshape(len(mix), -1))
    return _mixed(graph, features, matrix, bias)


def gains_from_whole(options: FrameTokenizerConfig) -> bool:
    """Whether a graph for pictures in which every pixel is valid is faster than the one for all pictures."""
    return bool(options.statistics) and options.validity_mask == "none" and options.keeps_tokens


def series_tokenizer(graph: OnnxGraph, name: str, spec: ModalitySpec, options: SeriesTokenizerConfig, weights: Weights) -> str:
    """Write a SeriesTokenizer into a graph -> (N, D). Its inputs ``name`` and, with a spectrum, ``name`` + SPECTRUM are the
    arrays of a `plan_inputs.SeriesInput`."""
    length, channels = spec.shape
    patch, width = options.steps_per_token, options.stem_channels
    count, around = length // patch, SERIES_KERNEL * (channels + 1)
    # The convolution as a product, whose result has the order that the tokens need.
    kernel = weights["conv.weight"].transpose(2, 1, 0).reshape(around, width)
    x = graph.op("Gemm", graph.input(name, [length, around]), kernel, weights["conv.bias"])
    gain, offset = (np.tile(weights[f"norm.{part}"], (length, 1)) for part in ("weight", "bias"))
    x = graph.op("Gelu", graph.op("LayerNormalization", x, gain, offset, axis=0, epsilon=NORM_EPSILON))
    features = [graph.reshape(x, count, patch * width)]
    d_model = len(weights["mix.bias"])
    matrix, bias = [weights["mix.weight"].transpose(0, 2, 1).reshape(d_model, -1)], weights["mix.bias"]
    if options.spectrum_steps:
        features.append(_log_power(graph, name + SPECTRUM, count, channels, options.spectrum_steps))
        mix = weights["spectrum.mix.weight"].reshape(d_model, -1)
        # (log + 7) / 3 is folded into the layer.
        bias = bias + weights["spectrum.mix.bias"] + mix.sum(1) * (7 / 3)
        matrix.append(mix / 3)
    return _mixed(graph, features, matrix, bias)


def spectrum_basis(steps: int) -> np.ndarray:
    """Cosines and sines (2 * bins, steps) under a Hann window of sum 1, as `model.tokenizers.PowerSpectrum` has them."""
    step, frequency = np.arange(steps, dtype=np.float64), np.arange(steps // 2 + 1, dtype=np.float64)[:, None]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * step / steps)
    angle = 2 * np.pi * frequency * step / steps
    return (np.concatenate([np.cos(angle), np.sin(angle)]) * window / window.sum()).astype(np.float32)


def _log_power(graph: OnnxGraph, name: str, count: int, channels: int, size: int) -> str:
    """Input ``name`` (count * C, size) -> logarithm of the power spectrum around every token, (count, C * bins)."""
    steps = graph.input(name, [count * channels, size])
    squares = []
    for wave in np.split(spectrum_basis(size), 2):
        part = graph.op("MatMul", steps, wave.T)
        squares.append(graph.op("Mul", part, part))
    power = graph.op("Add", graph.op("Add", *squares), np.array([1e-6], np.float32))
    return graph.reshape(graph.op("Log", power), count, -1)


def _mixed(graph: OnnxGraph, features: Sequence[str], matrices: Sequence[np.ndarray], bias: np.ndarray) -> str:
    """Features (N, F) of each kind, by their matrix (D, F) -> tokens (N, D). To add one product to the other takes less time
    than to join the features first."""
    x: str | np.ndarray = bias
    for part, matrix in zip(features, matrices):
        x = graph.op("Gemm", part, matrix.T, x)
    return str(x)


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
