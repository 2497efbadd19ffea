"""SentryAttend: grouped-query attention with sparse keys and values.

Query heads share few K/V heads (grouped-query attention, Ainslie et al., arXiv 2305.13245), and keys and values
come from few tokens of each modality (`KeyTokens`). No boolean mask anywhere: a masked score costs as much as a
used one, a token that is not there costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_KEYS = 16  # fewer than a CPU's vector registers hold: a softmax along them is then some five times slower than across


class AttendWeights(NamedTuple):
    """What one attention runs on: all of it, or the slice of the units that stay; a leading axis if several at once."""

    query: Tensor  # (g*q*hd, D) rows ordered by group, head within group, dim
    query_bias: Tensor  # (g*q*hd,)
    kv: Tensor  # (2*g*hd, D) all keys, then all values
    kv_bias: Tensor  # (2*g*hd,)
    out: Tensor  # (D, g*q*hd)
    out_bias: Tensor  # (D,)
    groups: int


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (..., in), weight (out, in) -> (..., out); or x (P, B, N, in), weight (P, out, in): one map for each of P."""
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    y = torch.baddbmm(bias.unsqueeze(1), x.flatten(1, 2), weight.transpose(1, 2))
    return y.view(*x.shape[:-1], -1)


def attend(x: Tensor, source: Tensor, w: AttendWeights, head_dim: int, head_scale: Tensor | None = None) -> Tensor:
    """x (..., N, D) attends to source (..., S, D) -> (..., N, D). ``head_scale`` (B, heads) multiplies each head's output.

    Leading axes: B, or P and B where the weights are those of P sites.
    """
    N, S = x.shape[-2], source.shape[-2]
    q = linear(x, w.query, w.query_bias)
    heads = q.shape[-1] // head_dim
    per_group = heads // w.groups
    # The heads of a group see the same keys, so they are simply more queries: nothing is repeated.
    q = q.reshape(-1, N, w.groups, per_group, head_dim).permute(0, 2, 3, 1, 4)
    q = q.reshape(-1, w.groups, per_group * N, head_dim)  # (B, g, q*N, hd)
    kv = linear(source, w.kv, w.kv_bias).reshape(-1, S, 2, w.groups, head_dim)
    k, v = kv.permute(2, 0, 3, 1, 4)  # (B, g, S, hd)
    if S < FEW_KEYS:
        weights = torch.softmax((k @ q.transpose(-1, -2)) * head_dim**-0.5, dim=-2).transpose(-1, -2)
    else:
        weights = torch.softmax((q @ k.transpose(-1, -2)) * head_dim**-0.5, dim=-1)  # (B, g, q*N, S)
    y = (weights @ v).view(-1, w.groups, per_group, N, head_dim)
    if head_scale is not None:
        y = y * head_scale.reshape(-1, w.groups, per_group, 1, 1)
    y = y.permute(0, 3, 1, 2, 4).reshape(*x.shape[:-1], heads * head_dim)
    return linear(y, w.out, w.out_bias)


class SentryAttend(nn.Module):
    """Holds the full weights; `attend` does the work, on these or on a slice of them."""

    def __init__(self, d_model: int, num_kv_heads: int, heads_per_group: int, head_dim: int):
        super().__init__()
        self.groups, self.per_group, self.head_dim = num_kv_heads, heads_per_group, head_dim
        self.query = nn.Linear(d_model, num_kv_heads * heads_per_group * head_dim)
        self.kv = nn.Linear(d_model, 2 * num_kv_heads * head_dim)
        self.out = nn.Linear(num_kv_heads * heads_per_group * head_dim, d_model)

    def weights(self) -> AttendWeights:
        """The full weights, not copied."""
        return AttendWeights(
            self.query.weight, self.query.bias, self.kv.weight, self.kv.bias, self.out.weight, self.out.bias, self.groups
        )

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        return attend(x, x if source is None else source, self.weights(), self.head_dim)


def strided_index(lengths: Sequence[int], strides: Sequence[int]) -> Tensor | None:
    """Token positions that give keys and values: every stride-th of each modality's run; None if that is all."""
    if all(s == 1 for s in strides):
        return None
    index, start = [], 0
    for length, stride in zip(lengths, strides):
        # The newest token of each modality is always among them: what just happened must be visible.
        index.append(torch.arange(start + (length - 1) % stride, start + length, stride))
        start += length
    return torch.cat(index)


def mean_pool(x: Tensor, stride: int) -> Tensor:
    """Tokens (..., N, D) -> means of ``stride`` neighbours each (..., ceil(N / stride), D); the oldest may have fewer."""
    if stride == 1:
        return x
    oldest = (x.shape[-2] - 1) % stride + 1  # counted from the newest token back, so that its mean is always a full one
    if oldest == stride:
        return x.unflatten(-2, (-1, stride)).mean(-2)
    first = x[..., :oldest, :].mean(-2, keepdim=True)
    return torch.cat([first, x[..., oldest:, :].unflatten(-2, (-1, stride)).mean(-2)], -2)


def key_count(length: int, stride: int) -> int:
    """Keys that a run of ``length`` tokens gives, with either pattern."""
    return -(-length // stride)


class KeyTokens:
    """Tokens (..., N, D), runs of ``lengths`` one after another -> the (..., S, D) that give keys and values."""

    def __init__(self, pattern: str, lengths: Sequence[int], strides: Sequence[int], device: torch.device):
        self.lengths, self.strides = list(lengths), list(strides)
        index = strided_index(lengths, strides) if pattern == "strided" else None
        self.index = None if index is None else index.to(device)
        self.pooled = pattern == "pooled" and any(s > 1 for s in strides)

    def __call__(self, x: Tensor) -> Tensor:
        if self.pooled:
            runs = [mean_pool(run, stride) for run, stride in zip(x.split(self.lengths, -2), self.strides)]
            return runs[0] if len(runs) == 1 else torch.cat(runs, -2)
        return x if self.index is None else x.index_select(-2, self.index)
