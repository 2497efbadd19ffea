"""Budgets that only the study compares: sites that compete by score, and plans that waste what absent sensors free.

The product's own plans (`sentryfuse_ros.pruning`) are mode "even" with the freed budget spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from torch import Tensor

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.gate import Scores
from sentryfuse_ros.model.sites import live_sites
from sentryfuse_ros.pruning.budget import (
    Growth,
    SiteBudget,
    budget_within,
    check_ratio_and_mask,
    full_budget,
    prunable_flops,
)
from sentryfuse_ros.pruning.slicing import as_arrays, gate_scores
from sentryfuse_ros.pruning.units import SiteKeep, fill_budgets

BUDGET_MODES = ("even", "global")


def study_plan(
    model: SentryFuse,
    mask: Sequence[bool],
    ratio: float,
    scores: Scores | None = None,
    mode: str = "even",
    spend_freed: bool = True,
) -> list[SiteKeep]:
    """As `slicing.choose_plan`, with a budget mode and the choice whether what absent sensors free is spent.

    Mode "even" gives every site its share; with "global" the units of all sites compete by score. Raises ParameterError.
    """
    if mode not in BUDGET_MODES:
        raise ParameterError("budget mode", mode, "one of " + ", ".join(BUDGET_MODES), "choose one of these")
    scores = gate_scores(model, mask) if scores is None else scores
    budgets = study_budget(model.config, model.lengths, mask, ratio, spend_freed, scores if mode == "global" else None)
    return fill_budgets(model.config, model.lengths, mask, budgets, as_arrays(scores))


def study_budget(
    config: FuseConfig,
    lengths: Sequence[int],
    mask: Sequence[bool],
    ratio: float,
    spend_freed: bool = True,
    scores: Scores | None = None,
) -> list[SiteBudget]:
    """Units of each site that is live under a mask (M,), as `budget.plan_budget`, which is this with the defaults.

    With ``scores`` of the whole network the units of all sites compete: the best next one first, heads and channels in step.
    ``spend_freed`` False wastes what absent sensors free: the share r of the *live* sensors' FLOPs goes, so each site keeps what
    it would keep with all sensors, give or take a step. That is a plan blind to the mask.
    Raises ParameterError on a ratio outside [0, 0.9] or a mask without a live sensor.
    """
    check_ratio_and_mask(ratio, mask)
    counted = [True] * len(lengths) if spend_freed else mask
    allowed = (1.0 - ratio) * prunable_flops(config, full_budget(config, counted), lengths, counted)
    if scores is None:
        return budget_within(config, lengths, mask, allowed)
    whole = full_budget(config, mask)
    if prunable_flops(config, whole, lengths, mask) <= allowed * (1 + 1e-9):
        return whole
    growth = ScoredGrowth(config, [[place] for place in live_sites(config, lengths, mask)], allowed)
    growth.grow_by_score(*scores)
    return growth.budgets()


class ScoredGrowth(Growth):
    """Sites that grow by the scores of their units."""

    def grow_by_score(self, heads: Tensor, channels: Tensor) -> None:
        """Take the best next step first; of heads and channels, whose scores have no common scale, the kind that lags behind."""
        worth = (
            [self._rung_worth(heads[place.site], ladder) for place, ladder in zip(self.live, self.ladders)],
            [self._step_worth(channels[place.site]) for place in self.live],
        )
        grow, taken = (self.grow_attention, self.grow_channels), (self.rungs, self.steps)
        queues: list[list[tuple[float, int]]] = []
        for kind in (0, 1):
            queues.append([(-w[taken[kind][i]], i) for i, w in enumerate(worth[kind]) if taken[kind][i] < len(w)])
            heapify(queues[kind])
        while queues[0] or queues[1]:
            kind = 0 if not queues[1] or (queues[0] and self._heads_lag()) else 1
            _, i = heappop(queues[kind])
            if grow[kind](i) and not self.tight and taken[kind][i] < len(worth[kind][i]):
                heappush(queues[kind], (-worth[kind][i][taken[kind][i]], i))

    def _heads_lag(self) -> bool:
        return sum(map(self.head_share, range(len(self.live)))) < sum(self.steps) / self.most_steps

    def _rung_worth(self, scores: Tensor, ladder: list[tuple[int, int]]) -> list[float]:
        """Entry k: mean score of the heads that the step from rung k adds, as `choose_units` will choose them."""
        groups, per_group = ladder[-1]
        by_group = scores.detach().view(groups, per_group)
        by_group = by_group[by_group.sum(1).argsort(descending=True, stable=True)]
        return by_group[0].sort(descending=True).values[1:].tolist() + by_group[1:].mean(1).tolist()

    def _step_worth(self, scores: Tensor) -> list[float]:
        """Entry k: mean score of the k-th best channel step."""
        return scores.detach().sort(descending=True).values.view(self.most_steps, -1).mean(1).tolist()
