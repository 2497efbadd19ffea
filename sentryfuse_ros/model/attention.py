"""SentryAttend: grouped-query attention with sparse keys and values.

Several query heads share one K/V head (grouped-query attention, Ainslie et al., arXiv 2305.13245), and keys and values come from
a few tokens of each modality (`KeyTokens`). There is no boolean attention mask: a masked score costs as much as a used one,
whereas a token that does not exist costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Below this number of keys a softmax along them does not fill a CPU's vector registers; across them it is some five times faster.
FEW_KEYS = 16


class AttendWeights(NamedTuple):
    """Weights of one attention: all of them, or the slice of the units that stay. Stacked attentions have a leading axis P.

    g is the number of K/V heads (groups), q that of query heads per group, hd that of dimensions per head.
    """

    query: Tensor  # (g*q*hd, D) rows ordered by group, by head within the group, by dimension
    query_bias: Tensor  # (g*q*hd,)
    kv: Tensor  # (2*g*hd, D) all keys, then all values
    kv_bias: Tensor  # (2*g*hd,)
    out: Tensor  # (D, g*q*hd)
    out_bias: Tensor  # (D,)
    groups: int

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, in the order of the fields."""
        return self.query, self.query_bias, self.kv, self.kv_bias, self.out, self.out_bias


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (..., in) by weight (out, in) -> (..., out). Stacked: x (P, B, N, in) by weight (P, out, in), one map for each of P."""
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    y = torch.baddbmm(bias.unsqueeze(1), x.flatten(1, 2), weight.transpose(1, 2))
    return y.view(*x.shape[:-1], -1)


def attend(x: Tensor, source: Tensor, w: AttendWeights, head_dim: int, head_scale: Tensor | None = None) -> Tensor:
    """Let x (..., N, D) attend to source (..., S, D) -> (..., N, D). ``head_scale`` (B, heads) multiplies each head's output.

    The leading axes are B, or P and B where the weights are stacked.
    """
    N, S = x.shape[-2], source.shape[-2]
    q = linear(x, w.query, w.query_bias)
    heads = q.shape[-1] // head_dim
    per_group = heads // w.groups
    # The heads of a group see the same keys, so they are simply more queries, and no key is repeated.
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
    """The full weights of one attention. `attend` does the work, on these or on a slice of them."""

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
    """Positions of the tokens that give keys and values: every stride-th of each modality; None if that is every token."""
    if all(s == 1 for s in strides):
        return None
    index: list[Tensor] = []
    start = 0
    for length, stride in zip(lengths, strides):
        # The newest token of each modality is always among them, because what just happened must be visible.
        index.append(torch.arange(start + (length - 1) % stride, start + length, stride))
        start += length
    return torch.cat(index)


def mean_pool(x: Tensor, stride: int) -> Tensor:
    """Tokens (..., N, D) -> means of ``stride`` neighbours (..., ceil(N / stride), D); the oldest mean may be of fewer."""
    if stride == 1:
        return x
    oldest = (x.shape[-2] - 1) % stride + 1  # counted back from the newest, so that the newest mean is a full one
    if oldest == stride:
        return x.unflatten(-2, (-1, stride)).mean(-2)
    first = x[..., :oldest, :].mean(-2, keepdim=True)
    return torch.cat([first, x[..., oldest:, :].unflatten(-2, (-1, stride)).mean(-2)], -2)


class KeyTokens:
    """Picks from tokens (..., N, D), ``lengths`` of them per modality, those (..., S, D) that give keys and values."""

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
