"""How many units each layer may keep under a pruning ratio.

The ratio r is a compute budget: the share of the dense, all-sensors model's prunable FLOPs that must go.
Prunable are the transformer layers' projections, attention products and feed-forwards; tokenisers, norms and the
read-out are not. An absent sensor's tokens cost nothing and so count as already removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ParameterError
from ..model.config import FuseConfig


@dataclass(frozen=True)
class LayerBudget:
    """Units one layer keeps: K/V groups, query heads in each of them, FFN channels."""

    groups: int
    heads_per_group: int
    channels: int


def layer_flops(config: FuseConfig, budget: LayerBudget, tokens: int, sources: int) -> int:
    """FLOPs (2 per multiply-add) of one layer over ``tokens`` queries and ``sources`` keys, as torch counts them."""
    heads = budget.groups * budget.heads_per_group
    query_and_out = 2 * tokens * config.d_model * heads * config.head_dim
    keys_and_values = 2 * sources * config.d_model * budget.groups * config.head_dim
    scores = 2 * tokens * sources * heads * config.head_dim
    return 2 * (query_and_out + keys_and_values + scores + 2 * tokens * config.d_model * budget.channels)


def token_counts(lengths: Sequence[int], strides: Sequence[int], mask: Sequence[bool]) -> tuple[int, int]:
    """Queries and keys that a mask leaves; ``lengths`` and ``strides`` per modality."""
    live = [i for i, present in enumerate(mask) if present]
    return sum(lengths[i] for i in live), sum(-(-lengths[i] // strides[i]) for i in live)


def prunable_flops(config: FuseConfig, budgets: Sequence[LayerBudget], tokens: int, sources: int) -> int:
    """FLOPs of all prunable parts under ``budgets``."""
    return sum(layer_flops(config, b, tokens, sources) for b in budgets)


def full_budget(config: FuseConfig) -> LayerBudget:
    """Everything stays."""
    return LayerBudget(config.kv_groups, config.heads_per_group, config.ffn_channels)


def attention_ladder(config: FuseConfig) -> list[tuple[int, int]]:
    """(groups, heads per group) from least to most: whole groups go first, then heads of the last group."""
    heads = [(1, q) for q in range(1, config.heads_per_group + 1)]
    return heads + [(g, config.heads_per_group) for g in range(2, config.kv_groups + 1)]


def plan_budget(config: FuseConfig, lengths: Sequence[int], strides: Sequence[int], mask: Sequence[bool],
                ratio: float) -> list[LayerBudget]:
    """Units per layer for a mask (M,) and a ratio in [0, 0.9].

    Every layer starts at its floor (one head, one channel step) and grows, layer by layer, whichever of attention
    and feed-forward is furthest from whole, as long as all layers together stay within the budget; so layers
    differ by one step at most. The floor is kept even where the budget is below it.
    Raises ParameterError on a ratio outside [0, 0.9] or a mask with no sensor.
    """
    if not 0.0 <= ratio <= 0.9:
        raise ParameterError("pruning ratio", ratio, "0 to 0.9")
    dense = full_budget(config)
    if not any(mask):
        raise ParameterError("modality mask", list(mask), "at least one live sensor")
    every = token_counts(lengths, strides, [True] * len(lengths))
    allowed = (1.0 - ratio) * config.layers * layer_flops(config, dense, *every)
    tokens, sources = token_counts(lengths, strides, mask)
    if config.layers * layer_flops(config, dense, tokens, sources) <= allowed * (1 + 1e-9):
        return [dense] * config.layers

    ladder = attention_ladder(config)
    rungs = [0] * config.layers
    channels = [config.channel_step] * config.layers

    def at(layer: int, rung: int, width: int) -> int:
        return layer_flops(config, LayerBudget(*ladder[rung], width), tokens, sources)

    spent = sum(at(i, rungs[i], channels[i]) for i in range(config.layers))
    grows = True
    while grows:
        grows = False
        for i in range(config.layers):
            share = ladder[rungs[i]][0] * ladder[rungs[i]][1] / config.heads
            steps = [(rungs[i], channels[i] + config.channel_step), (rungs[i] + 1, channels[i])]
            if share < channels[i] / config.ffn_channels:
                steps.reverse()
            for rung, width in steps:
                if rung >= len(ladder) or width > config.ffn_channels:
                    continue
                cost = at(i, rung, width) - at(i, rungs[i], channels[i])
                if spent + cost <= allowed:
                    spent, rungs[i], channels[i], grows = spent + cost, rung, width, True
                    break
    return [LayerBudget(*ladder[rungs[i]], channels[i]) for i in range(config.layers)]
