"""SentryAttend: grouped-query attention with strided keys and values.

Query heads share few K/V heads (grouped-query attention, Ainslie et al., arXiv 2305.13245) and keys and values
are taken from every n-th token of each modality. No boolean mask anywhere: a masked score costs as much as a
used one, a token that is not there costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AttendWeights(NamedTuple):
    """What one attention runs on: all of it, or the slice of the units that stay."""

    query: Tensor        # (g*q*hd, D) rows ordered by group, head within group, dim
    query_bias: Tensor   # (g*q*hd,)
    kv: Tensor           # (2*g*hd, D) all keys, then all values
    kv_bias: Tensor      # (2*g*hd,)
    out: Tensor          # (D, g*q*hd)
    out_bias: Tensor     # (D,)
    groups: int


def attend(x: Tensor, source: Tensor, w: AttendWeights, head_dim: int, head_scale: Tensor | None = None) -> Tensor:
    """x (B, N, D) attends to source (B, S, D) -> (B, N, D). ``head_scale`` (B, heads) multiplies each head's output."""
    B, N, _ = x.shape
    S = source.shape[1]
    heads = w.query.shape[0] // head_dim
    per_group = heads // w.groups
    q = F.linear(x, w.query, w.query_bias).view(B, N, w.groups, per_group, head_dim)
    # The heads of a group see the same keys, so they are simply more queries: nothing is repeated.
    q = q.permute(0, 2, 3, 1, 4).reshape(B, w.groups, per_group * N, head_dim)
    k, v = F.linear(source, w.kv, w.kv_bias).view(B, S, 2, w.groups, head_dim).permute(2, 0, 3, 1, 4)  # (B, g, S, hd)
    weights = torch.softmax((q @ k.transpose(-1, -2)) * head_dim ** -0.5, dim=-1)                       # (B, g, q*N, S)
    y = (weights @ v).view(B, w.groups, per_group, N, head_dim)
    if head_scale is not None:
        y = y * head_scale.view(B, w.groups, per_group, 1, 1)
    y = y.permute(0, 3, 1, 2, 4).reshape(B, N, heads * head_dim)
    return F.linear(y, w.out, w.out_bias)


class SentryAttend(nn.Module):
    """Holds the full weights; `attend` does the work, on these or on a slice of them."""

    def __init__(self, d_model: int, kv_groups: int, heads_per_group: int, head_dim: int):
        super().__init__()
        self.groups, self.per_group, self.head_dim = kv_groups, heads_per_group, head_dim
        self.query = nn.Linear(d_model, kv_groups * heads_per_group * head_dim)
        self.kv = nn.Linear(d_model, 2 * kv_groups * head_dim)
        self.out = nn.Linear(kv_groups * heads_per_group * head_dim, d_model)

    def weights(self) -> AttendWeights:
        """The full weights, not copied."""
        return AttendWeights(self.query.weight, self.query.bias, self.kv.weight, self.kv.bias,
                             self.out.weight, self.out.bias, self.groups)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        return attend(x, x if source is None else source, self.weights(), self.head_dim)


def strided_index(lengths: list[int], strides: list[int]) -> Tensor | None:
    """Token positions that give keys and values: every stride-th of each modality's run; None if that is all."""
    if all(s == 1 for s in strides):
        return None
    index, start = [], 0
    for length, stride in zip(lengths, strides):
        # The newest token of each modality is always among them: what just happened must be visible.
        index.append(torch.arange(start + (length - 1) % stride, start + length, stride))
        start += length
    return torch.cat(index)
