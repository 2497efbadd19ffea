"""The backbones of `model.backbones` and the read-out as ONNX graphs, from the sliced weights of a plan.

Keys' biases and those of the read-out's scores change nothing (softmax is blind to what all keys share) and are left out;
values' biases are folded into the output's, because attention weights sum to one. There are as few operations as possible: on a
robot, whose caches are cold at every tick, each takes microseconds however little it has to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..model.config import FuseConfig
from ..model.sites import all_sites
from ..pruning.units import SiteKeep
from .onnx_graph import OnnxGraph
from .onnx_tokenizers import NORM_EPSILON

Weights = Mapping[str, np.ndarray]
EMPTINESS = "emptiness"  # input (1, N): 0 for tokens that saw data, EMPTY for the others, which then take no part
# Finite, so that a window with no data at all still gives numbers, and so large that these do not depend on the tokens.
EMPTY = -1e30


def write_fusion(
    graph: OnnxGraph,
    tokens: Mapping[int, str],
    config: FuseConfig,
    weights: Weights,
    lengths: Sequence[int],
    plan: Sequence[SiteKeep],
    gives_tokens: bool = False,
) -> dict[str, tuple[int, int]]:
    """Write backbone and read-out behind the ``tokens`` of the live modalities, by their places in the mask, in its order.

    Input EMPTINESS. Returns the shapes of the outputs by name: logits (1, classes), and the attention shares (1, M), 0 for
    absent modalities; with ``gives_tokens`` also the tokens before and behind the backbone (N, D).
    """
    live = list(tokens)
    x = tokens[live[0]] if len(live) == 1 else graph.op("Concat", *tokens.values(), axis=0)
    x = graph.op("Add", x, np.concatenate([weights[f"positions.{i}"] for i in live]))
    fusion = _Fusion(graph, config, weights, lengths, live, {kept.site: kept for kept in plan})
    stem_tokens = x
    x = {"early": fusion.early, "bottleneck": fusion.bottleneck, "cross_modal": fusion.cross_modal}[config.backbone](x)
    logits, shares = _readout(graph, config, weights, x, lengths, live)
    outputs = {logits: (1, len(config.classes)), shares: (1, len(lengths))}
    if gives_tokens:
        outputs |= dict.fromkeys((stem_tokens, x), (sum(lengths[i] for i in live), config.d_model))
    return {graph.expose(name): shape for name, shape in outputs.items()}


class _Fusion:
    """Writes the sites of a plan into a graph."""

    def __init__(
        self,
        graph: OnnxGraph,
        config: FuseConfig,
        weights: Weights,
        lengths: Sequence[int],
        live: Sequence[int],
        plan: Mapping[int, SiteKeep],
    ):
        self.graph, self.config, self.weights, self.live, self.plan = graph, config, weights, live, plan
        self.sites = all_sites(config)
        self.layers = 1 + max(self.sites[site].layer for site in plan)  # a plan may have the first ones only
        self.lengths = lengths
        self.strides = [config.stride_of(name) for name in config.names]

    # --- backbones

    def early(self, x: str) -> str:
        lengths, strides = [self.lengths[i] for i in self.live], [self.strides[i] for i in self.live]
        for site in range(self.layers):
            x = self.block(site, x, lengths, strides, None)
        return x

    def bottleneck(self, x: str) -> str:
        streams = self.split(x)
        shared = self.graph.constant(self.weights["backbone.bottleneck"])
        shared_count = self.config.bottleneck_tokens
        last = self.config.layers - 1
        for layer in range(self.layers):
            versions = []
            for site in self.sites_of(layer):
                i = self.stream_of(site)
                lengths, strides = [self.lengths[i]], [self.strides[i]]
                if layer < self.config.first_fusion_layer:
                    streams[i] = self.block(site, streams[i], lengths, strides, None)
                elif layer == last:  # nobody reads the shared tokens after it
                    streams[i] = self.block(site, streams[i], lengths, strides, shared)
                else:
                    both = self.graph.op("Concat", streams[i], shared, axis=0)
                    both = self.block(site, both, [*lengths, shared_count], [*strides, 1], None)
                    streams[i] = self.rows(both, 0, self.lengths[i])
                    versions.append(self.rows(both, self.lengths[i], self.lengths[i] + shared_count))
            if versions:
                total = versions[0]
                for version in versions[1:]:
                    total = self.graph.op("Add", total, version)
                shared = self.graph.op("Mul", total, np.array([1 / len(versions)], np.float32)) if len(versions) > 1 else total
        return self.join(streams)

    def cross_modal(self, x: str) -> str:
        streams = self.split(x)
        low = {i: self.keys(streams[i], [self.lengths[i]], [self.strides[i]]) for i in self.live}
        others = {}
        for i in self.live:
            rest = [low[j] for j in self.live if j != i]
            others[i] = None if not rest else rest[0] if len(rest) == 1 else self.graph.op("Concat", *rest, axis=0)
        for layer in range(self.layers):
            for site in self.sites_of(layer):
                i = self.stream_of(site)
                streams[i] = self.block(site, streams[i], [self.lengths[i]], [self.strides[i]], others[i])
        return self.join(streams)

    # --- streams

    def sites_of(self, layer: int) -> list[int]:
        """Sites of a layer whose stream is live."""
        return [k for k, site in enumerate(self.sites) if site.layer == layer and site.stream in self.live]

    def stream_of(self, site: int) -> int:
        stream = self.sites[site].stream
        assert stream is not None
        return stream

    def rows(self, x: str, first: int, stop: int) -> str:
        return self.graph.op("Slice", x, [first], [stop], [0])

    def split(self, x: str) -> dict[int, str]:
        if len(self.live) == 1:
            return {self.live[0]: x}
        ends = np.cumsum([self.lengths[i] for i in self.live]).tolist()
        return {i: self.rows(x, end - self.lengths[i], end) for i, end in zip(self.live, ends)}

    def join(self, streams: Mapping[int, str]) -> str:
        parts = [streams[i] for i in self.live]
        return parts[0] if len(parts) == 1 else self.graph.op("Concat", *parts, axis=0)

    # --- one block

    def keys(self, x: str, lengths: Sequence[int], strides: Sequence[int]) -> str:
        """The tokens that give keys and values (`model.attention.KeyTokens`)."""
        if all(stride == 1 for stride in strides):
            return x
        if self.config.kv_pattern == "pooled":
            return self.graph.op("MatMul", pooled_keys(lengths, strides), x)
        return self.graph.op("Gather", x, strided_keys(lengths, strides), axis=0)

    def norm(self, x: str, name: str) -> str:
        gain, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.graph.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=NORM_EPSILON)

    def block(self, site: int, x: str, lengths: Sequence[int], strides: Sequence[int], extra: str | None) -> str:
        """One attention and one feed-forward (`model.block.transform`) on the units that the plan keeps."""
        graph, w, kept, prefix = self.graph, self.weights, self.plan[site], f"backbone.layers.{site}."
        y = self.norm(x, prefix + "norm_attention")
        source = self.keys(y, lengths, strides)
        if extra is not None:
            source = graph.op("Concat", source, self.norm(extra, prefix + "norm_attention"), axis=0)
        x = self.attention(site, x, y, source)
        y = self.norm(x, prefix + "norm_ffn")
        up = graph.op("Gemm", y, w[prefix + "up.weight"][kept.channels].T, w[prefix + "up.bias"][kept.channels])
        down = graph.op("Gemm", graph.op("Gelu", up), w[prefix + "down.weight"][:, kept.channels].T, w[prefix + "down.bias"])
        return graph.op("Add", x, down)

    def attention(self, site: int, x: str, y: str, source: str) -> str:
        """x (N, D) and what y (N, D), its norm, finds in source (S, D)."""
        return self.one_group(site, x, y, source) if len(self.plan[site].groups) == 1 else self.groups(site, x, y, source)

    def one_group(self, site: int, x: str, y: str, source: str) -> str:
        """`attention` where all heads share one K/V head: the heads of a token are then rows of plain products, and neither
        they nor the keys need to be transposed."""
        graph, w, kept, head_dim = self.graph, self.weights, self.plan[site], self.config.head_dim
        prefix, all_groups, heads = f"backbone.layers.{site}.attention.", self.sites[site].num_kv_heads, len(kept.heads)
        dims = np.arange(head_dim)
        query_rows = (kept.heads[:, None] * head_dim + dims).ravel()
        key_rows = kept.groups[0] * head_dim + dims
        value_rows = key_rows + all_groups * head_dim
        scale = np.float32(head_dim**-0.5)
        q = graph.op("Gemm", y, w[prefix + "query.weight"][query_rows].T * scale, w[prefix + "query.bias"][query_rows] * scale)
        q = graph.reshape(q, -1, head_dim) if heads > 1 else q  # (N * heads, hd)
        k = graph.op("Gemm", w[prefix + "kv.weight"][key_rows], source, transB=1)  # (hd, S)
        # Beside the values stands a one. What the heads draw of it is one as well, and multiplies the output's bias, so that the
        # product can add x in the bias's place.
        value = np.pad(w[prefix + "kv.weight"][value_rows].T, ((0, 0), (0, 1)))
        v = graph.op("Gemm", source, value, np.append(w[prefix + "kv.bias"][value_rows], np.float32(1)))  # (S, hd + 1)
        out = np.pad(w[prefix + "out.weight"][:, query_rows].T.reshape(heads, head_dim, -1), ((0, 0), (0, 1), (0, 0)))
        out[0, -1] = w[prefix + "out.bias"]
        z = graph.op("MatMul", graph.op("Softmax", graph.op("MatMul", q, k), axis=-1), v)  # (N * heads, hd + 1)
        z = graph.reshape(z, -1, heads * (head_dim + 1)) if heads > 1 else z
        return graph.op("Gemm", z, out.reshape(heads * (head_dim + 1), -1), x)

    def groups(self, site: int, x: str, y: str, source: str) -> str:
        """`attention` in which every head is one entry of a batched product."""
        graph, w, kept, head_dim = self.graph, self.weights, self.plan[site], self.config.head_dim
        prefix, all_groups = f"backbone.layers.{site}.attention.", self.sites[site].num_kv_heads
        heads, per_group = len(kept.heads), len(kept.heads) // len(kept.groups)
        dims = np.arange(head_dim)
        query_rows = (kept.heads[:, None] * head_dim + dims).ravel()
        kv_rows = (np.repeat(kept.groups, per_group)[:, None] * head_dim + dims).ravel()
        value_rows = kv_rows + all_groups * head_dim
        scale = np.float32(head_dim**-0.5)
        d_model = self.config.d_model

        def by_head(matrix: np.ndarray) -> np.ndarray:
            """(heads * hd, D) -> (heads, D, hd), to multiply tokens with."""
            return np.ascontiguousarray(matrix.reshape(heads, head_dim, d_model).transpose(0, 2, 1))

        query_bias = (w[prefix + "query.bias"][query_rows] * scale).reshape(heads, 1, head_dim)
        q = graph.op("MatMul", y, by_head(w[prefix + "query.weight"][query_rows] * scale))
        q = graph.op("Add", q, query_bias)  # (heads, N, hd)
        keys = w[prefix + "kv.weight"][kv_rows].reshape(heads, head_dim, d_model)
        k = graph.op("MatMul", keys, graph.op("Transpose", source, perm=[1, 0]))  # (heads, hd, S)
        v = graph.op("MatMul", source, by_head(w[prefix + "kv.weight"][value_rows]))  # (heads, S, hd)
        share = graph.op("Softmax", graph.op("MatMul", q, k), axis=-1)
        out = w[prefix + "out.weight"][:, query_rows]  # (D, heads * hd)
        bias = w[prefix + "out.bias"] + out @ w[prefix + "kv.bias"][value_rows]
        z = graph.op("Transpose", graph.op("MatMul", share, v), perm=[1, 0, 2])  # (N, heads, hd)
        return graph.op("Add", x, graph.op("Gemm", graph.reshape(z, -1, heads * head_dim), out.T, bias))


def strided_keys(lengths: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Positions of the tokens that give keys and values: every stride-th of each run, the newest among them."""
    index, start = [], 0
    for length, stride in zip(lengths, strides):
        index.append(np.arange(start + (length - 1) % stride, start + length, stride))
        start += length
    return np.concatenate(index)


def pooled_keys(lengths: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """(S, N): rows are means over ``stride`` neighbours of each run, counted from the newest token back."""
    rows, start = [], 0
    total = sum(lengths)
    for length, stride in zip(lengths, strides):
        stop = start + length
        first = start
        size = (length - 1) % stride + 1
        while first < stop:
            row = np.zeros(total, np.float32)
            row[first : first + size] = 1 / size
            rows.append(row)
            first, size = first + size, stride
        start = stop
    return np.stack(rows)


def _readout(
    graph: OnnxGraph,
    config: FuseConfig,
    weights: Weights,
    x: str,
    lengths: Sequence[int],
    live: Sequence[int],
) -> tuple[str, str]:
    """`model.fuse.Readout`: the logits, and the attention shares."""
    heads, d_model = config.readout_heads, config.d_model
    x = graph.op(
        "LayerNormalization", x, weights["readout.norm.weight"], weights["readout.norm.bias"], axis=-1, epsilon=NORM_EPSILON
    )
    emptiness = graph.input(EMPTINESS, [1, sum(lengths[i] for i in live)])
    score = graph.op("Gemm", weights["readout.score.weight"], x, emptiness, transB=1)  # (R, N)
    share = graph.op("Softmax", score, axis=1)
    values = weights["readout.value.weight"].reshape(heads, d_model // heads, d_model).transpose(0, 2, 1)
    pooled = graph.op("MatMul", graph.reshape(graph.op("MatMul", share, x), heads, 1, d_model), np.ascontiguousarray(values))
    pooled = graph.op("Gelu", graph.op("Add", graph.reshape(pooled, 1, d_model), weights["readout.value.bias"]))
    classify, bias = weights["readout.classify.weight"], weights["readout.classify.bias"]
    logits = graph.op("Gemm", pooled, classify.T, bias)
    if len(live) == 1:  # it has all of the attention
        return logits, graph.constant(np.eye(len(lengths), dtype=np.float32)[live])
    member = np.zeros((sum(lengths[i] for i in live), len(lengths)), np.float32)
    start = 0
    for i in live:
        member[start : start + lengths[i], i] = 1 / heads
        start += lengths[i]
    by_head = graph.op("MatMul", share, member)  # (R, M)
    return logits, graph.op("ReduceSum", by_head, [0], keepdims=1)
