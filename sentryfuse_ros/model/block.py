"""The transformer block all backbones are made of, and how it runs on full, sliced or stacked weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import AttendWeights, KeyTokens, SentryAttend, attend, linear
from .config import FuseConfig
from .dropout import dropout as drop


class SiteWeights(NamedTuple):
    """Weights one site runs on, full or sliced; those of several sites stacked have a leading axis."""

    sites: tuple[int, ...]  # places among `sites.all_sites`
    norm_attention: Tensor  # (D,)
    norm_attention_bias: Tensor
    attention: AttendWeights
    norm_ffn: Tensor  # (D,)
    norm_ffn_bias: Tensor
    up: Tensor  # (c, D)
    up_bias: Tensor  # (c,)
    down: Tensor  # (D, c)
    down_bias: Tensor  # (D,)

    def tensors(self) -> list[Tensor]:
        """All of them, the attention's too."""
        return [t for part in self[1:] for t in (part[:-1] if isinstance(part, tuple) else (part,))]


class SiteScales(NamedTuple):
    """Multipliers on a site's units, one row per sample; their gradient is the saliency."""

    heads: Tensor  # (B, H)
    channels: Tensor  # (B, C)


class Block(nn.Module):
    """Full weights of one site: SentryAttend and a GELU feed-forward, each behind a LayerNorm."""

    def __init__(self, config: FuseConfig, num_kv_heads: int, heads_per_group: int):
        super().__init__()
        self.norm_attention = nn.LayerNorm(config.d_model)
        self.attention = SentryAttend(config.d_model, num_kv_heads, heads_per_group, config.head_dim)
        self.norm_ffn = nn.LayerNorm(config.d_model)
        self.up = nn.Linear(config.d_model, config.ffn_dim)
        self.down = nn.Linear(config.ffn_dim, config.d_model)

    def weights(self, site: int) -> SiteWeights:
        """The full weights, not copied."""
        return SiteWeights(
            (site,),
            self.norm_attention.weight,
            self.norm_attention.bias,
            self.attention.weights(),
            self.norm_ffn.weight,
            self.norm_ffn.bias,
            self.up.weight,
            self.up.bias,
            self.down.weight,
            self.down.bias,
        )


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over the last axis; weight (D,), or (P, D) for x (P, B, N, D)."""
    if weight.ndim == 1:
        return F.layer_norm(x, weight.shape, weight, bias)
    return torch.addcmul(bias[:, None, None], F.layer_norm(x, weight.shape[-1:]), weight[:, None, None])


def transform(
    x: Tensor,
    w: SiteWeights,
    head_dim: int,
    keys: KeyTokens,
    extra: Tensor | None = None,
    scales: SiteScales | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """One block: x (..., N, D) -> (..., N, D), leading axes as in `attend`.

    Keys and values come from those of x that ``keys`` picks, and from the tokens ``extra`` (..., E, D).
    """
    y = norm(x, w.norm_attention, w.norm_attention_bias)
    source = keys(y)
    if extra is not None:
        source = torch.cat([source, norm(extra, w.norm_attention, w.norm_attention_bias)], -2)
    x = x + drop(attend(y, source, w.attention, head_dim, None if scales is None else scales.heads), dropout)
    h = F.gelu(linear(norm(x, w.norm_ffn, w.norm_ffn_bias), w.up, w.up_bias))  # (..., N, c)
    if scales is not None:
        h = h * scales.channels.unsqueeze(-2)
    return x + drop(linear(h, w.down, w.down_bias), dropout)


def stack_weights(parts: Sequence[SiteWeights]) -> SiteWeights:
    """Weights of sites of one shape, to be run at once. Copies; raises RuntimeError if the shapes differ."""

    def stack(tensors: Sequence[Tensor]) -> Tensor:
        if tensors[0].ndim == 1:
            return torch.stack(tensors)
        # (P, out, in) as a view of (P, in, out): the product is then nearly twice as fast on a CPU.
        return torch.stack([t.t() for t in tensors]).transpose(1, 2)

    attention = [w.attention for w in parts]
    attention = AttendWeights(*(stack(t) for t in zip(*(a[:-1] for a in attention))), attention[0].groups)
    rest = [w._replace(sites=(), attention=()) for w in parts]
    stacked = [stack(t) if isinstance(t[0], Tensor) else () for t in zip(*rest)]
    return SiteWeights(*stacked)._replace(sites=sum((w.sites for w in parts), ()), attention=attention)
