"""Choose the units that stay by their scores, and slice the weights down to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..model.attention import AttendWeights
from ..model.block import Block, SiteWeights
from ..model.fuse import SentryFuse
from ..model.gate import Scores
from ..model.sites import all_sites, live_sites
from .budget import SiteBudget, plan_budget


class SiteKeep(NamedTuple):
    """Units of one site that stay, each kind in ascending order."""

    groups: Tensor  # (g,) K/V heads
    heads: Tensor  # (g*q,) query heads
    channels: Tensor  # (c,) FFN channels
    whole: bool  # whether all units stay
    site: int = 0  # its index in `all_sites`


def choose_units(head_scores: Tensor, channel_scores: Tensor, budget: SiteBudget, num_kv_heads: int, site: int = 0) -> SiteKeep:
    """From the scores of one site (H,), (C,): the best whole K/V groups, the best heads in each, the best channels.

    The score of a group is the sum of its heads' scores. With the same scores, a smaller budget keeps a subset of a larger one.
    """
    by_group = head_scores.detach().view(num_kv_heads, -1)  # (G, Q)
    per_group = by_group.shape[1]
    whole = (budget.groups, budget.heads_per_group, budget.channels) == (num_kv_heads, per_group, len(channel_scores))
    groups = by_group.sum(1).argsort(descending=True, stable=True)[: budget.groups].sort().values
    inside = by_group[groups].argsort(dim=1, descending=True, stable=True)[:, : budget.heads_per_group].sort(dim=1).values
    heads = (groups.unsqueeze(1) * per_group + inside).flatten()
    channels = channel_scores.detach().argsort(descending=True, stable=True)[: budget.channels].sort().values
    return SiteKeep(groups, heads, channels, whole, site)


def choose_plan(model: SentryFuse, mask: Sequence[bool], ratio: float, scores: Scores | None = None) -> list[SiteKeep]:
    """Units that stay in every site that is live under a mask, by the gate's scores or by ``scores``.

    `plan_budget` says how many units each site keeps. Raises ParameterError on a ratio outside [0, 0.9] or an empty mask.
    """
    budgets = plan_budget(model.config, model.lengths, mask, ratio)
    return fill_budgets(model, mask, budgets, gate_scores(model, mask) if scores is None else scores)


def gate_scores(model: SentryFuse, mask: Sequence[bool]) -> Scores:
    """The gate's scores for a mask, without gradient."""
    with torch.no_grad():
        return model.gate(torch.as_tensor(list(mask), device=model.gate.static.device))


def fill_budgets(model: SentryFuse, mask: Sequence[bool], budgets: Sequence[SiteBudget], scores: Scores) -> list[SiteKeep]:
    """The best units by ``scores`` of the whole network for each of ``budgets``, one per site that is live under a mask."""
    sites = all_sites(model.config)
    places = [live.site for live in live_sites(model.config, model.lengths, mask)]
    return [choose_units(scores[0][i], scores[1][i], budget, sites[i].num_kv_heads, i) for i, budget in zip(places, budgets)]


def slice_block(block: Block, keep: SiteKeep) -> SiteWeights:
    """Weights of the units that stay, or the block's own tensors where all units do. Differentiable."""
    full = block.weights(keep.site)
    if keep.whole:
        return full
    a, hd = full.attention, block.attention.head_dim
    rows = (keep.heads.unsqueeze(1) * hd + torch.arange(hd, device=keep.heads.device)).flatten()
    kv_rows = (keep.groups.unsqueeze(1) * hd + torch.arange(hd, device=keep.groups.device)).flatten()
    kv_rows = torch.cat([kv_rows, kv_rows + block.attention.groups * hd])
    attention = AttendWeights(
        a.query.index_select(0, rows),
        a.query_bias.index_select(0, rows),
        a.kv.index_select(0, kv_rows),
        a.kv_bias.index_select(0, kv_rows),
        a.out.index_select(1, rows),
        a.out_bias,
        len(keep.groups),
    )
    return full._replace(
        attention=attention,
        up=full.up.index_select(0, keep.channels),
        up_bias=full.up_bias.index_select(0, keep.channels),
        down=full.down.index_select(1, keep.channels),
    )


def slice_weights(model: SentryFuse, plan: Sequence[SiteKeep]) -> list[SiteWeights]:
    """Weights of every site of a plan, as `SentryFuse.fuse` takes them."""
    return [slice_block(model.backbone.blocks[keep.site], keep) for keep in plan]
