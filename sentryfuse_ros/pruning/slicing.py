"""Choose the units that stay by their scores, and cut the weights down to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..model.attention import AttendWeights
from ..model.backbones import Layer, LayerWeights
from ..model.fuse import SentryFuse
from .budget import LayerBudget, plan_budget


class LayerKeep(NamedTuple):
    """Units of one layer that stay, ascending: groups (g,), heads (g*q,), channels (c,); all of them if ``whole``."""

    groups: Tensor
    heads: Tensor
    channels: Tensor
    whole: bool


def choose_units(head_scores: Tensor, channel_scores: Tensor, budget: LayerBudget, kv_groups: int) -> LayerKeep:
    """Scores of one layer (H,), (C,) -> the best whole K/V groups, the best heads in each, the best channels.

    A group's score is the sum of its heads'. Nested: with the same scores a smaller budget keeps a subset.
    """
    by_group = head_scores.detach().view(kv_groups, -1)                              # (G, Q)
    per_group = by_group.shape[1]
    whole = (budget.groups, budget.heads_per_group, budget.channels) == (kv_groups, per_group, len(channel_scores))
    groups = by_group.sum(1).argsort(descending=True, stable=True)[:budget.groups].sort().values
    inside = by_group[groups].argsort(dim=1, descending=True, stable=True)[:, :budget.heads_per_group].sort(dim=1).values
    heads = (groups.unsqueeze(1) * per_group + inside).flatten()
    channels = channel_scores.detach().argsort(descending=True, stable=True)[:budget.channels].sort().values
    return LayerKeep(groups, heads, channels, whole)


def choose_plan(model: SentryFuse, mask: Sequence[bool], ratio: float,
                scores: tuple[Tensor, Tensor] | None = None) -> list[LayerKeep]:
    """Units of every layer that stay for a mask and ratio, by the gate or by ``scores`` (L, H), (L, C)."""
    budgets = plan_budget(model.config, model.lengths, model.strides, mask, ratio)
    if scores is None:
        with torch.no_grad():
            scores = model.gate(torch.as_tensor(list(mask), device=model.gate.static.device))
    return [choose_units(h, c, b, model.config.kv_groups) for h, c, b in zip(*scores, budgets)]


def slice_layer(layer: Layer, keep: LayerKeep) -> LayerWeights:
    """Weights of the units that stay; the layer's own tensors where all do. Differentiable."""
    full = layer.weights()
    if keep.whole:
        return full
    a, hd = full.attention, layer.attention.head_dim
    rows = (keep.heads.unsqueeze(1) * hd + torch.arange(hd, device=keep.heads.device)).flatten()
    kv_rows = (keep.groups.unsqueeze(1) * hd + torch.arange(hd, device=keep.groups.device)).flatten()
    kv_rows = torch.cat([kv_rows, kv_rows + layer.attention.groups * hd])
    attention = AttendWeights(a.query[rows], a.query_bias[rows], a.kv[kv_rows], a.kv_bias[kv_rows],
                              a.out[:, rows], a.out_bias, len(keep.groups))
    return LayerWeights(attention, full.up[keep.channels], full.up_bias[keep.channels],
                        full.down[:, keep.channels], full.down_bias)


def slice_weights(model: SentryFuse, plan: Sequence[LayerKeep]) -> list[LayerWeights]:
    """Weights of every layer under a plan."""
    return [slice_layer(layer, keep) for layer, keep in zip(model.backbone.layers, plan)]
