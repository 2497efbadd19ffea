"""The patch encoder of `model.patch_tokenizer` as ONNX graphs: the whole stem, or its parts for a stream (`streaming/`).

The parts are `cut_picture` and `encode_windows`, whose number of windows may differ from call to call, `read_picture`, of which
`onnx_read_out` has another form, and `in_motion`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..model.patch_config import READ_KERNEL, READ_STRIDE, PatchTokenizerConfig, read_names
from ..preprocessing import ModalitySpec
from .onnx_graph import OnnxGraph
from .onnx_pooling import adaptive_pool
from .onnx_tokenizers import NORM_EPSILON

Weights = Mapping[str, np.ndarray]

# ONNX Runtime takes its time over Sign. Clipping to [0, TINY] tells as well whether a number is 0 or at least TINY; dividing by
# TINY is exact, because it is a power of two. So is TINY ** 2, for numbers that are in units of TINY themselves.
TINY = 2.0**-30


def picture_reader(graph: OnnxGraph, name: str, spec: ModalitySpec, options: PatchTokenizerConfig, weights: Weights) -> str:
    """What a PatchTokenizer knows of pictures by themselves: input ``name`` (n, C, H, W) -> (n, D)."""
    _, channels, height, width = spec.shape
    rows, columns = options.window_grid(spec)
    window, patch = options.window, options.patch
    frames = graph.input(name, ["n", channels, height, width])
    x = graph.reshape(frames, -1, channels, rows, window, patch, columns, window, patch)
    x = graph.op("Transpose", x, perm=[0, 2, 5, 3, 6, 1, 4, 7])
    codes = encode_windows(graph, graph.reshape(x, -1, channels * patch**2), spec, options, weights)
    return read_picture(graph, codes, spec, options, weights)


def cut_picture(picture: np.ndarray, options: PatchTokenizerConfig) -> np.ndarray:
    """A view of a picture (C, H, W) by row and column of its windows: (rows, columns, window, window, C, patch, patch)."""
    channels, height, width = picture.shape
    window, patch = options.window, options.patch
    side = window * patch
    return picture.reshape(channels, height // side, window, patch, width // side, window, patch).transpose(1, 4, 2, 5, 0, 3, 6)


def embedding_offsets(weights: Weights, windows: int) -> np.ndarray:
    """(windows * patches, width): what the embedding adds to every patch of so many windows, by its place."""
    offsets: np.ndarray = np.tile(weights["place"] + weights["embed.bias"], (windows, 1)).astype(np.float32)
    return offsets


def encode_windows(
    graph: OnnxGraph,
    patches: str,
    spec: ModalitySpec,
    options: PatchTokenizerConfig,
    weights: Weights,
    is_normalised: bool = True,
    offsets: str | None = None,
    everywhere: bool = False,
) -> str:
    """Windows as patches (n * patches, C * pixels) -> codes (n, code), for any number of windows.

    is_normalised: whether the patches are; otherwise they are in the units of the picture, and pixels of a picture of depths that
    have no return stay 0. offsets: `embedding_offsets` as a value of the graph, which spares some steps. everywhere: attention
    reaches over the whole picture, of which all windows must be given; for comparison only.
    """
    count, channels, pixels = options.window**2, spec.channels, options.patch**2
    # The patches in `unit`s of the normalised ones: the weights of the embedding do the rest.
    (x, unit), embed = (patches, None) if is_normalised else _centred(graph, patches, spec, pixels), weights["embed.weight"].T
    if unit is not None:
        embed = np.concatenate([embed[: channels * pixels] / unit[:, None], embed[channels * pixels :]])
    if options.validity_mask != "none":
        size = graph.op("Abs", x)
        if options.validity_mask == "one" and channels > 1:
            size = graph.op("ReduceMax", graph.reshape(size, -1, channels, pixels), [1], keepdims=0)
        x = graph.op("Concat", x, graph.op("Clip", size, 0.0, TINY**2), axis=1)
        embed = np.concatenate([embed[: channels * pixels], embed[channels * pixels :] / TINY**2])
    if offsets is not None:
        x = graph.op("Gemm", x, embed, offsets)
    else:
        x = graph.op("Gemm", x, embed, weights["embed.bias"])
        x = graph.op("Add", graph.reshape(x, -1, count, options.width), weights["place"])
        x = graph.reshape(x, -1, options.width)
    for i in range(options.layers):
        x = _layer(graph, x, options, _part(weights, f"layers.{i}."), options.patch_tokens(spec) if everywhere else count)
    x = graph.reshape(_norm(graph, x, weights, "norm"), -1, count * options.width)
    return graph.op("Gemm", x, weights["pack.weight"].T, weights["pack.bias"])


def read_picture(graph: OnnxGraph, codes: str, spec: ModalitySpec, options: PatchTokenizerConfig, weights: Weights) -> str:
    """Codes of all windows of pictures (n * windows, code) -> (n, D)."""
    rows, columns = options.window_grid(spec)
    x = graph.op("Transpose", graph.reshape(codes, -1, rows, columns, options.code), perm=[0, 3, 1, 2])
    for name in read_names(options):
        x = graph.op(
            "Conv",
            x,
            weights[f"{name}.weight"],
            weights[f"{name}.bias"],
            kernel_shape=[READ_KERNEL, READ_KERNEL],
            strides=[READ_STRIDE, READ_STRIDE],
            pads=[READ_KERNEL // 2] * 4,
        )
        x = graph.op("Gelu", x)
    x = adaptive_pool(graph, x, *options.read_grids(spec)[-1], options.grid, options.reads[-1])
    return graph.op("Gemm", x, weights["mix.weight"].T, weights["mix.bias"])


def in_motion(
    graph: OnnxGraph, pictures: str, around: str, spec: ModalitySpec, options: PatchTokenizerConfig, weights: Weights
) -> str:
    """What is known of successive pictures, (K, D), and side by side for each token, (N, motion_steps * D) -> tokens (N, D).

    Both are the arrays of a `plan_inputs.PictureInput`; the convolution over time is then a product.
    """
    count, share, d_model = spec.shape[0], options.frames_per_token, len(weights["motion.bias"])
    kernel = weights["motion.weight"].transpose(2, 1, 0).reshape(-1, d_model)
    x = graph.op("Gelu", graph.op("Gemm", around, kernel, weights["motion.bias"]))
    if share == 1:
        return graph.op("Add", x, pictures)
    mean = (np.arange(count) // share == np.arange(count // share)[:, None]).astype(np.float32) / np.float32(share)
    return graph.op("Gemm", mean, pictures, x)


def _part(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def _norm(graph: OnnxGraph, x: str, weights: Weights, name: str) -> str:
    return graph.op("LayerNormalization", x, weights[f"{name}.weight"], weights[f"{name}.bias"], axis=-1, epsilon=NORM_EPSILON)


def _centred(graph: OnnxGraph, patches: str, spec: ModalitySpec, pixels: int) -> tuple[str, np.ndarray]:
    """Patches (n, C * pixels) in the units of the picture, less their mean, and what 1 is of them (C * pixels,) by now.

    Pixels of a picture of depths that have no return become 0.
    """
    mean = spec.channel_mean.repeat(pixels)
    std = spec.channel_std.repeat(pixels)
    off = graph.op("Sub", patches, mean)
    if spec.encoding != "depth_m":
        return off, std
    return graph.op("Mul", off, graph.op("Clip", patches, 0.0, TINY)), std * np.float32(TINY)


def _layer(graph: OnnxGraph, x: str, options: PatchTokenizerConfig, w: Weights, count: int) -> str:
    """One transformer layer inside windows of ``count`` patches: x (n * count, width) -> the same."""
    groups, dim, per_group = options.num_kv_heads, options.head_dim, options.heads_per_group
    heads = groups * per_group
    y = _norm(graph, x, w, "norm_attention")
    scale, no_bias = np.float32(dim**-0.5), np.zeros(2 * groups * dim, np.float32)
    # One product for all, because each step takes its time. Keys' biases change nothing, since softmax is blind to what all keys
    # share; values' biases are folded into the output's, because attention weights sum to one.
    query, query_bias = w["query.weight"] * scale, w["query.bias"] * scale
    keys_values = np.concatenate([w["key.weight"], w["value.weight"]])
    if options.kv_stride == 1:
        both, bias = np.concatenate([query, keys_values]), np.concatenate([query_bias, no_bias])
        q, k, v = graph.split(_by_head(graph, y, both, bias, count, dim), heads, groups, groups, axis=1)
    else:
        picked = np.arange((count - 1) % options.kv_stride, count, options.kv_stride)
        source = graph.op("Gather", graph.reshape(y, -1, count, options.width), picked, axis=1)
        source = graph.reshape(source, -1, options.width)
        q = _by_head(graph, y, query, query_bias, count, dim)
        k, v = graph.split(_by_head(graph, source, keys_values, no_bias, len(picked), dim), groups, groups, axis=1)
    if per_group > 1:  # the heads of a group see the same keys, so they are simply more queries
        q = graph.reshape(q, -1, groups, per_group * count, dim)
    share = graph.op("Softmax", graph.op("MatMul", q, graph.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    z = graph.op("MatMul", share, v)  # (n, groups, per_group * count, dim)
    if per_group > 1:
        z = graph.reshape(z, -1, heads, count, dim)
    z = graph.reshape(graph.op("Transpose", z, perm=[0, 2, 1, 3]), -1, heads * dim)
    value_bias = np.repeat(w["value.bias"].reshape(groups, dim), per_group, 0).ravel()
    out = w["out.weight"]
    x = graph.op("Add", x, graph.op("Gemm", z, out.T, w["out.bias"] + out @ value_bias))
    h = graph.op("Gelu", graph.op("Gemm", _norm(graph, x, w, "norm_ffn"), w["up.weight"].T, w["up.bias"]))
    return graph.op("Add", x, graph.op("Gemm", h, w["down.weight"].T, w["down.bias"]))


def _by_head(graph: OnnxGraph, x: str, weight: np.ndarray, bias: np.ndarray, count: int, dim: int) -> str:
    """Tokens (n * count, width) by a linear layer, head by head: (n, heads, count, dim)."""
    x = graph.op("Gemm", x, weight.T, bias)
    return graph.op("Transpose", graph.reshape(x, -1, count, len(weight) // dim, dim), perm=[0, 2, 1, 3])
