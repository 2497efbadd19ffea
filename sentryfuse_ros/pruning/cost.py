"""What a plan costs as a whole, including everything that is not pruned; by arithmetic, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..model.config import FuseConfig
from ..model.sites import live_sites
from ..model.subnetwork import Subnetwork
from ..model.tensor_shapes import tensor_shapes, token_counts
from .budget import SiteBudget, prunable_flops


def plan_flops(config: FuseConfig, part: Subnetwork, budgets: Sequence[SiteBudget]) -> int:
    """FLOPs of one window, 2 per multiply-add, tokenisers and read-out included: what torch's counter finds.

    ``budgets``: units of every site of the subnetwork.
    """
    return fixed_flops(config, part) + prunable_flops(config, budgets, token_counts(config), part.used)


def picture_flops(config: FuseConfig, part: Subnetwork) -> int:
    """FLOPs of a subnetwork's tokenisers of which a new picture is needed only once for the predictions that share it."""
    specs = [(spec, size) for spec, here, size in zip(config.modalities, part.used, part.stems) if here]
    kept = [(config.tokenizer[spec.name].at_size(size), spec) for spec, size in specs if config.tokenizer[spec.name].keeps_tokens]
    return sum(options.flops(spec, config.d_model) for options, spec in kept)


def fixed_flops(config: FuseConfig, part: Subnetwork) -> int:
    """FLOPs of a subnetwork's tokenisers and of its read-out, which pruning of units does not change."""
    specs = [(spec, size) for spec, here, size in zip(config.modalities, part.used, part.stems) if here]
    tokens = sum(count for count, here in zip(token_counts(config), part.used) if here)
    readout = tokens * config.d_model * (config.readout_heads + config.d_model) + config.d_model * len(config.classes)
    stems = sum(config.tokenizer[spec.name].at_size(size).flops(spec, config.d_model) for spec, size in specs)
    return stems + 2 * readout


def plan_params(config: FuseConfig, part: Subnetwork, budgets: Sequence[SiteBudget]) -> int:
    """Number of parameters that one window reads; those of the gate are not among them."""
    prefixes = ["readout.", "backbone.bottleneck", *(f"positions.{i}" for i, here in enumerate(part.used) if here)]
    fixed = sum(prod(shape) for name, shape in tensor_shapes(config).items() if _belongs(name, prefixes))
    for spec, here, size in zip(config.modalities, part.used, part.stems):
        if here:
            shapes = config.tokenizer[spec.name].at_size(size).tensor_shapes(spec, config.d_model)
            fixed += sum(prod(shape) for shape in shapes.values())
    # The sites come layer by layer, so those of a subnetwork with fewer layers are the first ones.
    places = live_sites(config, token_counts(config), part.used)[: len(budgets)]
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
