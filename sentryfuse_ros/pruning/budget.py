"""How many units each site may keep under a pruning ratio.

The ratio r is a compute budget: the share of the dense, all-sensors model's prunable FLOPs that must go. Prunable are the
projections, attention products and feed-forwards of the transformer blocks; tokenisers, norms and the read-out are not. The
tokens of an absent sensor, and its stream, cost nothing and so count as already removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from ..errors import ParameterError
from ..model.config import FuseConfig
from ..model.sites import LiveSite, Site, all_sites, live_sites

HIGHEST_RATIO = 0.9


@dataclass(frozen=True)
class SiteBudget:
    """Units that one site keeps."""

    groups: int  # K/V heads
    heads_per_group: int  # query heads for each of them
    channels: int  # FFN channels


def site_flops(config: FuseConfig, budget: SiteBudget, queries: int, keys: int) -> int:
    """FLOPs (2 per multiply-add, as torch counts them) of one site over so many query tokens and key tokens."""
    heads = budget.groups * budget.heads_per_group
    query_and_out = 2 * queries * config.d_model * heads * config.head_dim
    keys_and_values = 2 * keys * config.d_model * budget.groups * config.head_dim
    scores = 2 * queries * keys * heads * config.head_dim
    return 2 * (query_and_out + keys_and_values + scores + 2 * queries * config.d_model * budget.channels)


def prunable_flops(config: FuseConfig, budgets: Sequence[SiteBudget], lengths: Sequence[int], mask: Sequence[bool]) -> int:
    """Prunable FLOPs of the sites that are live under a mask (M,), at ``budgets``; ``lengths`` (M,) are tokens per modality."""
    return sum(site_flops(config, b, live.queries, live.keys) for b, live in zip(budgets, live_sites(config, lengths, mask)))


def full_budget(config: FuseConfig, mask: Sequence[bool] | None = None) -> list[SiteBudget]:
    """All units of the sites that are live under a mask, or of all sites if it is None."""
    return [
        SiteBudget(site.num_kv_heads, site.heads_per_group, config.ffn_dim)
        for site in all_sites(config)
        if mask is None or site.stream is None or mask[site.stream]
    ]


def attention_ladder(site: Site) -> list[tuple[int, int]]:
    """(groups, heads per group) from least to most. Pruning takes whole groups first, then heads of the last group."""
    heads = [(1, q) for q in range(1, site.heads_per_group + 1)]
    return heads + [(g, site.heads_per_group) for g in range(2, site.num_kv_heads + 1)]


def check_ratio_and_mask(ratio: float, mask: Sequence[bool]) -> None:
    """Raises ParameterError on a ratio outside [0, 0.9] or a mask without a live sensor."""
    if not 0.0 <= ratio <= HIGHEST_RATIO:
        raise ParameterError("pruning ratio", ratio, f"0 to {HIGHEST_RATIO}", "choose a ratio in this range")
    if not any(mask):
        raise ParameterError("modality mask", list(mask), "at least one live sensor", "wait for a sensor to deliver data")


def plan_budget(config: FuseConfig, lengths: Sequence[int], mask: Sequence[bool], ratio: float) -> list[SiteBudget]:
    """Units of each site that is live under a mask (M,), for a ratio in [0, 0.9]; ``lengths`` (M,) are tokens per modality.

    What absent sensors free is spent on the live ones. See `budget_within` for how the budget is divided among the sites.
    Raises ParameterError on a ratio outside [0, 0.9] or a mask without a live sensor.
    """
    check_ratio_and_mask(ratio, mask)
    everything = [True] * len(lengths)
    dense = prunable_flops(config, full_budget(config), lengths, everything)
    return budget_within(config, lengths, mask, (1.0 - ratio) * dense)


def budget_within(config: FuseConfig, lengths: Sequence[int], mask: Sequence[bool], allowed: float) -> list[SiteBudget]:
    """Units of each live site such that all sites together stay within ``allowed`` FLOPs; every site keeps about the same share.

    Every site starts at its floor, one head and one channel step, which it keeps even where the floor exceeds the allowance. Then
    the site that is furthest from whole grows first, and in it whichever of attention and feed-forward is further behind. Streams
    of a layer that have the same work grow together, so that they keep one shape and can run as one batched operation. The first
    step that no longer fits is left out, and each other row of sites may still take one step; so the units of a smaller allowance
    are among those of a larger one, except for such a last step.
    """
    whole = full_budget(config, mask)
    if prunable_flops(config, whole, lengths, mask) <= allowed * (1 + 1e-9):
        return whole
    live = live_sites(config, lengths, mask)
    rows = same_work(config, live)
    growth = Growth(config, rows, allowed)
    growth.grow_evenly()
    budgets = {place.site: budget for row, budget in zip(rows, growth.budgets()) for place in row}
    return [budgets[place.site] for place in live]


def same_work(config: FuseConfig, live: Sequence[LiveSite]) -> list[list[LiveSite]]:
    """Live sites in rows: those of a layer that have the same numbers of tokens and of K/V heads."""
    sites = all_sites(config)
    rows: dict[tuple[int, ...], list[LiveSite]] = {}
    for place in live:
        site = sites[place.site]
        rows.setdefault((site.layer, site.num_kv_heads, place.queries, place.keys), []).append(place)
    return list(rows.values())


class Growth:
    """Rows of sites that grow from their floor within an allowance, step by step: a rung of attention, or a channel step.

    The sites of a row keep the same numbers of units, and so they pay for a step together.
    """

    def __init__(self, config: FuseConfig, rows: Sequence[Sequence[LiveSite]], allowed: float):
        sites, self.live = all_sites(config), [row[0] for row in rows]
        self.config, self.allowed = config, allowed
        self.ladders = [attention_ladder(sites[place.site]) for place in self.live]
        self.rungs, self.steps = [0] * len(rows), [1] * len(rows)
        self.most_steps = config.ffn_dim // config.channel_step
        # The costs of attention and channels add up, so the cost of a step is known beforehand.
        self.attention_flops = [
            [len(row) * site_flops(config, SiteBudget(*rung, 0), row[0].queries, row[0].keys) for rung in ladder]
            for ladder, row in zip(self.ladders, rows)
        ]
        self.channel_flops = [
            len(row) * site_flops(config, SiteBudget(0, 0, config.channel_step), row[0].queries, row[0].keys) for row in rows
        ]
        self.tight = False  # whether a step has been refused
        self.spent = sum(a[0] + c for a, c in zip(self.attention_flops, self.channel_flops))

    def budgets(self) -> list[SiteBudget]:
        """What each row has grown to."""
        return [
            SiteBudget(*ladder[rung], steps * self.config.channel_step)
            for ladder, rung, steps in zip(self.ladders, self.rungs, self.steps)
        ]

    def grow_attention(self, row: int) -> bool:
        """Climb one rung, if there is one and the allowance holds it."""
        rung, flops = self.rungs[row], self.attention_flops[row]
        if rung + 1 == len(self.ladders[row]) or not self._pay(flops[rung + 1] - flops[rung]):
            return False
        self.rungs[row] += 1
        return True

    def grow_channels(self, row: int) -> bool:
        """Take one channel step, if there is one and the allowance holds it."""
        if self.steps[row] == self.most_steps or not self._pay(self.channel_flops[row]):
            return False
        self.steps[row] += 1
        return True

    def _pay(self, flops: int) -> bool:
        if self.spent + flops > self.allowed:
            self.tight = True
            return False
        self.spent += flops
        return True

    def head_share(self, row: int) -> float:
        """Share of its query heads that a row keeps."""
        groups, heads = self.ladders[row][self.rungs[row]]
        return groups * heads / self.config.heads

    def grow_evenly(self) -> None:
        """Grow the row that is furthest from whole first; of several such rows, the first."""
        queue = [(0.0, row) for row in range(len(self.live))]
        while queue:
            _, row = heappop(queue)
            if self.head_share(row) < self.steps[row] / self.most_steps:
                grown = self.grow_attention(row) or self.grow_channels(row)
            else:
                grown = self.grow_channels(row) or self.grow_attention(row)
            if grown and not self.tight:
                taken = self.rungs[row] + self.steps[row] - 1
                heappush(queue, (taken / (len(self.ladders[row]) + self.most_steps - 2), row))
