"""The tokenisers of `model.tokenizers` as ONNX graphs, built from their weights.

The same numbers with fewer operations than torch runs: a group norm of one group is one LayerNormalization, affine steps
before a linear layer are folded into its weights, and all statistics of a picture share one division and one logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..model.tokenizer_config import SERIES_KERNEL, FrameTokenizerConfig, SeriesTokenizerConfig
from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind
from .onnx_graph import OnnxGraph
from .onnx_pooling import adaptive_pool
from .onnx_texture import absent_statistics, texture, whole_texture

Weights = Mapping[str, np.ndarray]
NORM_EPSILON = 1e-5  # torch's default for GroupNorm and LayerNorm
TokenValues = tuple[str, str]  # names of values in a graph: tokens (n, D); seen (n,), 1 where the token saw any data


def frame_tokenizer(
    graph: OnnxGraph, name: str, spec: ModalitySpec, options: FrameTokenizerConfig, weights: Weights, whole: bool = False
) -> TokenValues:
    """Write a FrameTokenizer into a graph: input ``name`` (n, C, H, W), n any multiple of frames_per_token, oldest first.

    ``whole``: the graph will only be given pictures in which every pixel is valid; `gains_from_whole` says where that saves
    time. It then has no value for the tokens that saw data, which are all.
    """
    _, channels, height, width = spec.shape
    patch, motion, validity = options.frames_per_token, options.motion, options.validity_mask
    frames = graph.input(name, ["n", channels, height, width])
    crop = options.crop_columns or width
    if crop != width:
        first = (width - crop) // 2
        frames = graph.op("Slice", frames, [first], [first + crop], [3])
        width = crop
    valid_any = has_frame = seen = ""
    if not whole:
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
        size = upright, channels, height, width, parts
        found, means = whole_texture(graph, frames, *size) if whole else texture(graph, frames, valid_any, *size)
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
    joined = features[0] if len(features) == 1 else graph.op("Concat", *features, axis=1)
    return graph.op("Gemm", joined, np.concatenate(matrix, 1).T, bias), seen


def gains_from_whole(options: FrameTokenizerConfig) -> bool:
    """Whether a graph for pictures in which every pixel is valid is faster than the one for all pictures."""
    return bool(options.statistics) and options.validity_mask == "none" and options.keeps_tokens


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
