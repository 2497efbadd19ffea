"""What a plan costs as a whole, including everything that is not pruned; by arithmetic, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..model.config import FuseConfig
from ..model.sites import live_sites
from ..model.tensor_shapes import tensor_shapes, token_counts
from .budget import SiteBudget, prunable_flops


def plan_flops(config: FuseConfig, used: Sequence[bool], budgets: Sequence[SiteBudget]) -> int:
    """FLOPs of one window, 2 per multiply-add, tokenisers and read-out included: what torch's counter finds.

    ``used`` (M,): the sensors of the plan; ``budgets``: units of each of their sites.
    """
    return fixed_flops(config, used) + prunable_flops(config, budgets, token_counts(config), used)


def fixed_flops(config: FuseConfig, used: Sequence[bool]) -> int:
    """FLOPs of the tokenisers of the sensors used (M,) and of the read-out, which pruning of units does not change."""
    specs = [spec for spec, here in zip(config.modalities, used) if here]
    tokens = sum(count for count, here in zip(token_counts(config), used) if here)
    readout = tokens * config.d_model * (config.readout_heads + config.d_model) + config.d_model * len(config.classes)
    return sum(config.tokenizer[spec.name].flops(spec, config.d_model) for spec in specs) + 2 * readout


def plan_params(config: FuseConfig, used: Sequence[bool], budgets: Sequence[SiteBudget]) -> int:
    """Number of parameters that one window reads; those of the gate are not among them."""
    shapes = tensor_shapes(config)
    prefixes = ["readout.", "backbone.bottleneck"]
    for i, here in enumerate(used):
        prefixes += [f"tokenizers.{i}.", f"positions.{i}"] if here else []
    fixed = sum(prod(shape) for name, shape in shapes.items() if _belongs(name, prefixes))
    places = live_sites(config, token_counts(config), used)
    return fixed + sum(_site_params(config, budget) for budget, _ in zip(budgets, places, strict=True))


def _belongs(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or (prefix.endswith(".") and name.startswith(prefix)) for prefix in prefixes)


def _site_params(config: FuseConfig, budget: SiteBudget) -> int:
    """Parameters of the units that a site keeps, with its norms."""
    d, query_rows = config.d_model, budget.groups * budget.heads_per_group * config.head_dim
    kv_rows = 2 * budget.groups * config.head_dim
    attention = query_rows * (d + 1) + kv_rows * (d + 1) + d * query_rows + d
    feed_forward = budget.channels * (d + 1) + d * budget.channels + d
    return attention + feed_forward + 4 * d
