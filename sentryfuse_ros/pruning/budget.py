"""How many units each site may keep under a pruning ratio.

The ratio r is a compute budget: the share of the dense, all-sensors model's prunable FLOPs that must go.
Prunable are the transformer blocks' projections, attention products and feed-forwards; tokenisers, norms and the
read-out are not. An absent sensor's tokens, and its stream, cost nothing and so count as already removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from torch import Tensor

from ..errors import ParameterError
from ..model.config import FuseConfig
from ..model.sites import LiveSite, Site, all_sites, live_sites

BUDGET_MODES = ("even", "global")


@dataclass(frozen=True)
class SiteBudget:
    """Units one site keeps: K/V groups, query heads in each of them, FFN channels."""

    groups: int
    heads_per_group: int
    channels: int


def site_flops(config: FuseConfig, budget: SiteBudget, queries: int, keys: int) -> int:
    """FLOPs (2 per multiply-add) of one site over so many query and key tokens, as torch counts them."""
    heads = budget.groups * budget.heads_per_group
    query_and_out = 2 * queries * config.d_model * heads * config.head_dim
    keys_and_values = 2 * keys * config.d_model * budget.groups * config.head_dim
    scores = 2 * queries * keys * heads * config.head_dim
    return 2 * (query_and_out + keys_and_values + scores + 2 * queries * config.d_model * budget.channels)


def prunable_flops(config: FuseConfig, budgets: Sequence[SiteBudget], lengths: Sequence[int], mask: Sequence[bool]) -> int:
    """FLOPs of all prunable parts with the sites that a mask leaves at ``budgets``; ``lengths``: tokens per modality."""
    return sum(site_flops(config, b, live.queries, live.keys) for b, live in zip(budgets, live_sites(config, lengths, mask)))


def full_budget(config: FuseConfig, mask: Sequence[bool] | None = None) -> list[SiteBudget]:
    """Everything stays, in the sites that a mask leaves; all of them if None."""
    return [
        SiteBudget(site.num_kv_heads, site.heads_per_group, config.ffn_dim)
        for site in all_sites(config)
        if mask is None or site.stream is None or mask[site.stream]
    ]


def attention_ladder(site: Site) -> list[tuple[int, int]]:
    """(groups, heads per group) from least to most: whole groups go first, then heads of the last group."""
    heads = [(1, q) for q in range(1, site.heads_per_group + 1)]
    return heads + [(g, site.heads_per_group) for g in range(2, site.num_kv_heads + 1)]


def plan_budget(
    config: FuseConfig,
    lengths: Sequence[int],
    mask: Sequence[bool],
    ratio: float,
    spend_freed: bool = True,
    scores: tuple[Tensor, Tensor] | None = None,
) -> list[SiteBudget]:
    """Units of the sites that a mask (M,) leaves, for a ratio in [0, 0.9]; ``lengths`` (M,) are tokens per modality.

    Every site starts at its floor (one head, one channel step) and grows as long as all together stay within the
    budget. Without ``scores`` evenly: the site furthest from whole first, in it whichever of attention and
    feed-forward is; streams of a layer that have the same work grow together, so that they stay of one shape and can
    run at once. With ``scores`` (sites, H), (sites, C) of the whole network the units of all sites compete: the
    best next one first, heads and channels in step. The first step that no longer fits is left out and the others
    may take one more each, so the plan of a smaller budget is within that of a larger but for such a last step.
    The floor is kept even where the budget is below it.

    ``spend_freed`` False wastes what absent sensors free: the share r of the *live* sensors' FLOPs goes, so each
    site keeps what it would with all sensors, give or take a step. That is a plan blind to the mask, for comparison.
    Raises ParameterError on a ratio outside [0, 0.9] or a mask with no sensor.
    """
    if not 0.0 <= ratio <= 0.9:
        raise ParameterError("pruning ratio", ratio, "0 to 0.9")
    if not any(mask):
        raise ParameterError("modality mask", list(mask), "at least one live sensor")
    counted = [True] * len(lengths) if spend_freed else mask
    allowed = (1.0 - ratio) * prunable_flops(config, full_budget(config, counted), lengths, counted)
    whole = full_budget(config, mask)
    if prunable_flops(config, whole, lengths, mask) <= allowed * (1 + 1e-9):
        return whole
    live = live_sites(config, lengths, mask)
    if scores is None:
        rows = _alike(config, live)
        growth = _Growth(config, rows, allowed)
        growth.evenly()
    else:
        rows = [[place] for place in live]
        growth = _Growth(config, rows, allowed)
        growth.by_score(*scores)
    budgets = {place.site: budget for row, budget in zip(rows, growth.budgets()) for place in row}
    return [budgets[place.site] for place in live]


def _alike(config: FuseConfig, live: Sequence[LiveSite]) -> list[list[LiveSite]]:
    """Live sites in rows: those of a layer with the same tokens and K/V groups."""
    sites, rows = all_sites(config), {}
    for place in live:
        site = sites[place.site]
        rows.setdefault((site.layer, site.num_kv_heads, place.queries, place.keys), []).append(place)
    return list(rows.values())


class _Growth:
    """Rows of sites growing from their floor within an allowance, step by step: a rung of attention, or a channel step.

    The sites of a row keep the same, and so pay for a step together.
    """

    def __init__(self, config: FuseConfig, rows: Sequence[Sequence[LiveSite]], allowed: float):
        sites, self.live = all_sites(config), [row[0] for row in rows]
        self.config, self.allowed = config, allowed
        self.ladders = [attention_ladder(sites[place.site]) for place in self.live]
        self.rungs, self.steps = [0] * len(rows), [1] * len(rows)
        self.most = config.ffn_dim // config.channel_step
        # Costs add up, so that a step's is known beforehand.
        self.attention = [
            [len(row) * site_flops(config, SiteBudget(*rung, 0), row[0].queries, row[0].keys) for rung in ladder]
            for ladder, row in zip(self.ladders, rows)
        ]
        self.channel = [
            len(row) * site_flops(config, SiteBudget(0, 0, config.channel_step), row[0].queries, row[0].keys) for row in rows
        ]
        self.tight = False  # a step has been refused
        self.spent = sum(a[0] + c for a, c in zip(self.attention, self.channel))

    def budgets(self) -> list[SiteBudget]:
        return [
            SiteBudget(*ladder[rung], steps * self.config.channel_step)
            for ladder, rung, steps in zip(self.ladders, self.rungs, self.steps)
        ]

    def grow_attention(self, i: int) -> bool:
        """One rung up, if there is one and the allowance holds it."""
        if self.rungs[i] + 1 == len(self.ladders[i]):
            return False
        if not self._pay(self.attention[i][self.rungs[i] + 1] - self.attention[i][self.rungs[i]]):
            return False
        self.rungs[i] += 1
        return True

    def grow_channels(self, i: int) -> bool:
        """One channel step more, if there is one and the allowance holds it."""
        if self.steps[i] == self.most or not self._pay(self.channel[i]):
            return False
        self.steps[i] += 1
        return True

    def _pay(self, cost: int) -> bool:
        if self.spent + cost > self.allowed:
            self.tight = True
            return False
        self.spent += cost
        return True

    def head_share(self, i: int) -> float:
        groups, heads = self.ladders[i][self.rungs[i]]
        return groups * heads / self.config.heads

    def evenly(self) -> None:
        """Furthest from whole first, of equals the first."""
        queue = [(0.0, i) for i in range(len(self.live))]
        while queue:
            _, i = heappop(queue)
            if self.head_share(i) < self.steps[i] / self.most:
                grown = self.grow_attention(i) or self.grow_channels(i)
            else:
                grown = self.grow_channels(i) or self.grow_attention(i)
            if grown and not self.tight:
                taken = self.rungs[i] + self.steps[i] - 1
                heappush(queue, (taken / (len(self.ladders[i]) + self.most - 2), i))

    def by_score(self, heads: Tensor, channels: Tensor) -> None:
        """Best next step first, the kind that lags first: the scores of heads and of channels have no common scale."""
        queues = ([], [])
        worth = [
            [self._rung_worth(heads[place.site], ladder) for place, ladder in zip(self.live, self.ladders)],
            [self._step_worth(channels[place.site]) for place in self.live],
        ]
        grow, taken = (self.grow_attention, self.grow_channels), (self.rungs, self.steps)
        for kind in (0, 1):
            queues[kind].extend((-w[taken[kind][i]], i) for i, w in enumerate(worth[kind]) if taken[kind][i] < len(w))
            heapify(queues[kind])
        while queues[0] or queues[1]:
            kind = 0 if not queues[1] or (queues[0] and self._heads_lag()) else 1
            _, i = heappop(queues[kind])
            if grow[kind](i) and not self.tight and taken[kind][i] < len(worth[kind][i]):
                heappush(queues[kind], (-worth[kind][i][taken[kind][i]], i))

    def _heads_lag(self) -> bool:
        return sum(map(self.head_share, range(len(self.live)))) < sum(self.steps) / self.most

    def _rung_worth(self, scores: Tensor, ladder: list[tuple[int, int]]) -> list[float]:
        """Entry k: mean score of the heads that the step from rung k adds, as `choose_units` will choose them."""
        groups, per_group = ladder[-1]
        by_group = scores.detach().view(groups, per_group)
        by_group = by_group[by_group.sum(1).argsort(descending=True, stable=True)]
        return by_group[0].sort(descending=True).values[1:].tolist() + by_group[1:].mean(1).tolist()

    def _step_worth(self, scores: Tensor) -> list[float]:
        """Entry k: mean score of the k-th best channel step."""
        return scores.detach().sort(descending=True).values.view(self.most, -1).mean(1).tolist()


def check_budget_mode(mode: str) -> None:
    """Raises ParameterError unless it is one of BUDGET_MODES."""
    if mode not in BUDGET_MODES:
        raise ParameterError("budget mode", mode, "one of " + ", ".join(BUDGET_MODES))
