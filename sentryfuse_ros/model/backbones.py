"""Backbones: how the sensors' tokens meet. Here `early`: one transformer over all tokens of all live sensors.

A backbone is a module with ``layers_count``, ``weights() -> list[LayerWeights]`` and
``forward(tokens, lengths, strides, weights, scales)``; a second one is added beside `EarlyFusion` and named in
config.BACKBONES and `make_backbone`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ParameterError
from .attention import AttendWeights, SentryAttend, attend, strided_index
from .config import FuseConfig


class LayerWeights(NamedTuple):
    """Weights one transformer layer runs on, full or sliced."""

    attention: AttendWeights
    up: Tensor          # (c, D)
    up_bias: Tensor     # (c,)
    down: Tensor        # (D, c)
    down_bias: Tensor   # (D,)


class LayerScales(NamedTuple):
    """Multipliers on a layer's units, one row per sample; their gradient is the saliency."""

    heads: Tensor       # (B, H)
    channels: Tensor    # (B, C)


class Layer(nn.Module):
    """Pre-norm transformer layer: SentryAttend, then a GELU feed-forward."""

    def __init__(self, config: FuseConfig):
        super().__init__()
        self.norm_attention = nn.LayerNorm(config.d_model)
        self.attention = SentryAttend(config.d_model, config.kv_groups, config.heads_per_group, config.head_dim)
        self.norm_ffn = nn.LayerNorm(config.d_model)
        self.up = nn.Linear(config.d_model, config.ffn_channels)
        self.down = nn.Linear(config.ffn_channels, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def weights(self) -> LayerWeights:
        """The full weights, not copied."""
        return LayerWeights(self.attention.weights(), self.up.weight, self.up.bias, self.down.weight, self.down.bias)

    def forward(self, x: Tensor, kv_index: Tensor | None, w: LayerWeights, scales: LayerScales | None) -> Tensor:
        y = self.norm_attention(x)                                                  # (B, N, D)
        source = y if kv_index is None else y.index_select(1, kv_index)             # (B, S, D)
        y = attend(y, source, w.attention, self.attention.head_dim, None if scales is None else scales.heads)
        x = x + self.dropout(y)
        h = F.gelu(F.linear(self.norm_ffn(x), w.up, w.up_bias))                     # (B, N, c)
        if scales is not None:
            h = h * scales.channels.unsqueeze(1)
        return x + self.dropout(F.linear(h, w.down, w.down_bias))


class EarlyFusion(nn.Module):
    """One transformer over the concatenated tokens of the live sensors."""

    def __init__(self, config: FuseConfig):
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self._indices: dict[tuple, Tensor | None] = {}

    def weights(self) -> list[LayerWeights]:
        """The full weights of every layer, not copied."""
        return [layer.weights() for layer in self.layers]

    def forward(self, x: Tensor, lengths: list[int], strides: list[int], weights: list[LayerWeights] | None = None,
                scales: list[LayerScales] | None = None) -> Tensor:
        """x (B, N, D), the live modalities' runs of ``lengths`` tokens one after another -> (B, N, D)."""
        key = (*lengths, *strides, x.device)
        if key not in self._indices:
            index = strided_index(lengths, strides)
            self._indices[key] = index if index is None else index.to(x.device)
        weights = self.weights() if weights is None else weights
        for i, layer in enumerate(self.layers):
            x = layer(x, self._indices[key], weights[i], None if scales is None else scales[i])
        return x


def make_backbone(config: FuseConfig) -> nn.Module:
    """The backbone named in the config; raises ParameterError on one that does not exist."""
    if config.backbone == "early":
        return EarlyFusion(config)
    raise ParameterError("model config backbone", config.backbone, "early", "choose a backbone that exists")
