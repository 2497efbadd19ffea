"""The caption head as ONNX graphs: one makes what the words attend to, one gives the next word. Keys and values are kept.

The second graph takes the keys and values of all earlier words and of all percepts as inputs, and returns the former with those
of its own word, so that a word costs one row through the network, whatever came before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..runtime.onnx_graph import OnnxGraph
from ..runtime.onnx_tokenizers import NORM_EPSILON
from .config import CaptionConfig, Width

Weights = Mapping[str, np.ndarray]
# Inputs of the first graph, and outputs of both. Keys are (heads, hd, rows), values (heads, rows, hd), per layer.
TOKENS, PLACED, REST = "tokens", "placed", "rest"
WORD, SCORES = "word", "scores"


def percept_keys(layer: int) -> tuple[str, str]:
    """Names of the keys and values of the percepts in a layer."""
    return f"percept_keys_{layer}", f"percept_values_{layer}"


def word_keys(layer: int) -> tuple[str, str]:
    """Names of the keys and values of the earlier words in a layer; those that come out, with the new word, have "new_" before
    them."""
    return f"word_keys_{layer}", f"word_values_{layer}"


def percept_graph(config: CaptionConfig, weights: Weights, width: Width) -> OnnxGraph:
    """From tokens (N, 2 * token_dim), stem beside fused, what is added to them (N, d), and the rest (R, d) to all layers' keys
    and values of N + R rows."""
    graph = OnnxGraph()
    tokens = graph.input(TOKENS, ["N", 2 * config.token_dim])
    placed, rest = graph.input(PLACED, ["N", config.d_model]), graph.input(REST, ["R", config.d_model])
    halves = []
    for half, name in enumerate(("norm_stem", "norm_fused")):
        begin = half * config.token_dim
        part = graph.op("Slice", tokens, [begin], [begin + config.token_dim], [1])
        halves.append(_norm(graph, part, weights, f"reader.{name}"))
    x = graph.op("Concat", *halves, axis=1)
    x = graph.op("Add", graph.op("Gemm", x, weights["reader.token.weight"].T, weights["reader.token.bias"]), placed)
    rows = _norm(graph, graph.op("Concat", x, rest, axis=0), weights, "norm_rows")
    for layer in range(config.layers):
        for value, name in zip(_keys(graph, rows, config, weights, f"layers.{layer}.percepts", width), percept_keys(layer)):
            graph.output(value, name)
    return graph


def word_graph(config: CaptionConfig, weights: Weights, width: Width) -> OnnxGraph:
    """From a word's row (1, d), and the keys and values of earlier words and of the percepts, to the scores of the next word
    (1, vocabulary), and the keys and values of all words with this one."""
    graph = OnnxGraph()
    x = graph.input(WORD, [1, config.d_model])
    heads, hd = width.groups, config.head_dim
    for layer in range(config.layers):
        prefix = f"layers.{layer}"
        y = _norm(graph, x, weights, f"{prefix}.norm_words")
        keys_name, values_name = word_keys(layer)
        keys, values = graph.input(keys_name, [heads, hd, "T"]), graph.input(values_name, [heads, "T", hd])
        new_keys, new_values = _keys(graph, y, config, weights, f"{prefix}.words", width)
        keys, values = graph.op("Concat", keys, new_keys, axis=2), graph.op("Concat", values, new_values, axis=1)
        graph.output(keys, "new_" + keys_name)
        graph.output(values, "new_" + values_name)
        x = graph.op("Add", x, _attend(graph, y, keys, values, config, weights, f"{prefix}.words", width))
        y = _norm(graph, x, weights, f"{prefix}.norm_percepts")
        keys_name, values_name = percept_keys(layer)
        keys, values = graph.input(keys_name, [heads, hd, "S"]), graph.input(values_name, [heads, "S", hd])
        x = graph.op("Add", x, _attend(graph, y, keys, values, config, weights, f"{prefix}.percepts", width))
        y, c = _norm(graph, x, weights, f"{prefix}.norm_ffn"), width.channels
        up = graph.op("Gemm", y, weights[f"{prefix}.up.weight"][:c].T, weights[f"{prefix}.up.bias"][:c])
        down = weights[f"{prefix}.down.weight"][:, :c].T
        x = graph.op("Add", x, graph.op("Gemm", graph.op("Gelu", up), down, weights[f"{prefix}.down.bias"]))
    graph.output(graph.op("MatMul", _norm(graph, x, weights, "norm"), weights["word"].T), SCORES)
    return graph


def _norm(graph: OnnxGraph, x: str, weights: Weights, name: str) -> str:
    gain, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return graph.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=NORM_EPSILON)


def _keys(graph: OnnxGraph, rows: str, config: CaptionConfig, weights: Weights, prefix: str, width: Width) -> tuple[str, str]:
    """Rows (S, d) -> keys (groups, hd, S) and values (groups, S, hd)."""
    groups, hd, d = width.groups, config.head_dim, config.d_model
    key = weights[f"{prefix}.key.weight"][: groups * hd].reshape(groups, hd, d)
    value = weights[f"{prefix}.value.weight"][: groups * hd].reshape(groups, hd, d).transpose(0, 2, 1)
    bias = weights[f"{prefix}.value.bias"][: groups * hd].reshape(groups, 1, hd)
    keys = graph.op("MatMul", key, graph.op("Transpose", rows, perm=[1, 0]))
    return keys, graph.op("Add", graph.op("MatMul", rows, np.ascontiguousarray(value)), bias)


def _attend(
    graph: OnnxGraph, y: str, keys: str, values: str, config: CaptionConfig, weights: Weights, prefix: str, width: Width
) -> str:
    """A row (1, d) attends to all keys -> (1, d). The query heads of a group are the rows of one product."""
    groups, per_group, hd = width.groups, config.heads_per_group, config.head_dim
    q = groups * per_group * hd
    scale = np.float32(hd**-0.5)
    query = graph.op("Gemm", y, weights[f"{prefix}.query.weight"][:q].T * scale, weights[f"{prefix}.query.bias"][:q] * scale)
    share = graph.op("Softmax", graph.op("MatMul", graph.reshape(query, groups, per_group, hd), keys), axis=-1)
    mixed = graph.reshape(graph.op("MatMul", share, values), 1, q)
    return graph.op("Gemm", mixed, weights[f"{prefix}.out.weight"][:, :q].T, weights[f"{prefix}.out.bias"])
