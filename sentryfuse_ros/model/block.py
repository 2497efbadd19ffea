"""The transformer block that all backbones consist of, and how it runs on full, sliced or stacked weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import AttendWeights, SentryAttend, attend, linear
from .config import FuseConfig
from .dropout import dropout as drop


class SiteWeights(NamedTuple):
    """Weights of one site, full or sliced.

    The weights of several sites of one shape may be stacked; every tensor then has a leading axis.
    """

    sites: tuple[int, ...]  # indices in `sites.all_sites`; several where the weights are stacked
    norm_attention: Tensor  # (D,)
    norm_attention_bias: Tensor
    attention: AttendWeights
    norm_ffn: Tensor  # (D,)
    norm_ffn_bias: Tensor
    up: Tensor  # (c, D)
    up_bias: Tensor  # (c,)
    down: Tensor  # (D, c)
    down_bias: Tensor  # (D,)

    def own_tensors(self) -> tuple[Tensor, ...]:
        """The tensors outside the attention, in the order of the fields."""
        return (
            self.norm_attention,
            self.norm_attention_bias,
            self.norm_ffn,
            self.norm_ffn_bias,
            self.up,
            self.up_bias,
            self.down,
            self.down_bias,
        )

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, the attention's among them."""
        return (*self.own_tensors(), *self.attention.tensors())


class SiteScales(NamedTuple):
    """Multipliers on the units of a site, one row per sample; the saliency is their gradient."""

    heads: Tensor  # (B, H)
    channels: Tensor  # (B, C)


class Block(nn.Module):
    """The full weights of one site: SentryAttend and a GELU feed-forward, each behind a LayerNorm."""

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
    keys: Callable[[Tensor], Tensor],
    extra: Tensor | None = None,
    scales: SiteScales | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Run one block: x (..., N, D) -> (..., N, D), leading axes as in `attend`.

    Keys and values come from the tokens of x that ``keys`` picks (`KeyTokens`), and from the tokens ``extra`` (..., E, D) if
    there are any.
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
    """Stack the weights of sites of one shape into one batched operation. Copies; raises RuntimeError if the shapes differ."""

    def stack(tensors: Sequence[Tensor]) -> Tensor:
        if tensors[0].ndim == 1:
            return torch.stack(tuple(tensors))
        # (P, out, in) as a view of (P, in, out): the product is then nearly twice as fast on a CPU.
        return torch.stack([t.t() for t in tensors]).transpose(1, 2)

    query, query_bias, kv, kv_bias, out, out_bias = map(stack, zip(*(w.attention.tensors() for w in parts)))
    attention = AttendWeights(query, query_bias, kv, kv_bias, out, out_bias, parts[0].attention.groups)
    norm_attention, norm_attention_bias, *rest = map(stack, zip(*(w.own_tensors() for w in parts)))
    return SiteWeights(tuple(site for w in parts for site in w.sites), norm_attention, norm_attention_bias, attention, *rest)
