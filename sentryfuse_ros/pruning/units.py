"""Which units stay: from scores and budgets to the kept heads and channels of every site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..model.config import FuseConfig
from ..model.sites import all_sites, live_sites
from ..model.subnetwork import Subnetwork
from .budget import SiteBudget, plan_budget

UnitScores = tuple[np.ndarray, np.ndarray]  # of heads (sites, H) and of FFN channels (sites, C); higher scores stay longer


class SiteKeep(NamedTuple):
    """Units of one site that stay, each kind in ascending order."""

    groups: np.ndarray  # (g,) K/V heads
    heads: np.ndarray  # (g*q,) query heads
    channels: np.ndarray  # (c,) FFN channels
    whole: bool  # whether all units stay
    site: int = 0  # its index in `all_sites`

    @property
    def budget(self) -> SiteBudget:
        """How many units these are."""
        return SiteBudget(len(self.groups), len(self.heads) // len(self.groups), len(self.channels))


def choose_units(
    head_scores: np.ndarray, channel_scores: np.ndarray, budget: SiteBudget, num_kv_heads: int, site: int = 0
) -> SiteKeep:
    """From the scores of one site (H,), (C,): the best whole K/V groups, the best heads in each, the best channels.

    The score of a group is the sum of its heads' scores. With the same scores, a smaller budget keeps a subset of a larger one.
    """
    by_group = head_scores.reshape(num_kv_heads, -1)  # (G, Q)
    per_group = by_group.shape[1]
    whole = (budget.groups, budget.heads_per_group, budget.channels) == (num_kv_heads, per_group, len(channel_scores))
    groups = np.sort(_best(by_group.sum(1), budget.groups))
    inside = np.sort(_best(by_group[groups], budget.heads_per_group), axis=1)
    heads = (groups[:, None] * per_group + inside).ravel()
    return SiteKeep(groups, heads, np.sort(_best(channel_scores, budget.channels)), whole, site)


def fill_budgets(
    config: FuseConfig, lengths: Sequence[int], mask: Sequence[bool], budgets: Sequence[SiteBudget], scores: UnitScores
) -> list[SiteKeep]:
    """The best units by ``scores`` of the whole network for each of ``budgets``, one per site that is live under a mask (M,)."""
    sites = all_sites(config)
    places = [live.site for live in live_sites(config, lengths, mask)]
    return [choose_units(scores[0][i], scores[1][i], budget, sites[i].num_kv_heads, i) for i, budget in zip(places, budgets)]


def plan_units(
    config: FuseConfig, lengths: Sequence[int], mask: Sequence[bool], ratio: float, scores: UnitScores
) -> list[SiteKeep]:
    """Units that stay in every site that is live under a mask, for a ratio in [0, 0.9] of the prunable FLOPs.

    `plan_budget` says how many units each site keeps. Raises ParameterError on a ratio out of range or an empty mask.
    """
    return fill_budgets(config, lengths, mask, plan_budget(config, lengths, mask, ratio), scores)


def subnetwork_units(config: FuseConfig, lengths: Sequence[int], part: Subnetwork, scores: UnitScores) -> list[SiteKeep]:
    """Units that stay in the sites of a subnetwork: those of its ratio level, in the layers that it has."""
    sites = all_sites(config)
    units = plan_units(config, lengths, part.used, part.units_level, scores)
    return [keep for keep in units if sites[keep.site].layer < part.layers]


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the ``count`` highest scores along the last axis, the highest first; of equal ones the first stays."""
    return np.argsort(-scores, axis=-1, kind="stable")[..., :count]
