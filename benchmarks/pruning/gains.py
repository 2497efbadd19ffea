"""Gains of ours over baselines, over all combinations or some of them."""

from __future__ import annotations

from collections.abc import Sequence

from sentryfuse_ros.model.config import BACKBONES

from .comparison import (
    HIGH,
    PAIR,
    Figures,
    Part,
    Plan,
    by_seed,
    mean,
    ours_and,
    points_by_seed,
    relative,
    rests_on,
    strongest,
    usual_baselines,
)
from .conditions import MISSING
from .result_table import Combination, ResultTable
from .variants import GATE, GATE_BLIND, STATIC, USUAL

# Baselines beside that of the comparison. A stronger one passes through the network twice and distils, as ours does. Two are
# weaker: criteria with one plan per ratio for all masks, and a training without sensor dropout.
OTHER_BASELINES: tuple[tuple[str, str, Sequence[str]], ...] = (
    ("self_distilled", "self_distilled", USUAL),
    ("static", "normal", tuple(STATIC)),
    ("plain", "plain", USUAL),
)
# Plans that know nothing of the mask: those that do not even spend what an absent sensor frees, and those that do. The last entry
# also has the controls that were trained with one backbone only.
_ONE_ORDER = (Plan("mask_blind", GATE), *(Plan("joint", c) for c in USUAL))
MASK_BLIND = {
    "gain_vs_mask_blind": (Plan("mask_blind", GATE_BLIND), Plan("joint", GATE_BLIND)),
    "gain_vs_one_order": _ONE_ORDER,
    "gain_vs_one_order_explained": (Plan("one_order", GATE), Plan("fixed_order", GATE), *_ONE_ORDER),
}


def over_the_strongest(table: ResultTable) -> Part:
    """Relative gain over the strongest usual criterion on the normally trained network."""
    combinations, usual = table.combinations(*PAIR), usual_baselines(table)
    best = strongest(table, usual, combinations)
    dropout = [c for c in combinations if c.condition != "all" and c.ratio in HIGH]
    kinds = {
        "gain_mean_rel": combinations,
        "gain_dropout_rel": dropout,
        "gain_missing_rel": [c for c in dropout if c.condition in MISSING],
        **{f"gain_mean_rel_{b}": [c for c in combinations if c.backbone == b] for b in BACKBONES},
        "gain_mean_rel_where_pruned": [c for c in combinations if table.pruned_share(c) > 0],
    }
    each = "gain_mean_rel_best_each"
    if best is None:
        return Part({"strongest_baseline": None, **dict.fromkeys((*kinds, each))}, {})
    gain = {c: relative(*ours_and(table, c, best)) for c in combinations}

    def gain_of_seed(at: Combination, seed: int) -> float:
        return relative(*ours_and(table, at, best, seeds=[seed]))

    figures: Figures = {
        "strongest_baseline": best.plan,
        **{name: mean(gain[c] for c in kind) for name, kind in kinds.items()},
        each: mean(min(relative(*ours_and(table, c, plan)) for plan in usual) for c in combinations),
    }
    basis: Figures = {
        name: rests_on(table, kind, PAIR) | {"by_seed": by_seed(table, kind, PAIR, gain_of_seed)} for name, kind in kinds.items()
    }
    return Part(figures, basis | {each: rests_on(table, combinations, PAIR)})


def over_other_baselines(table: ResultTable) -> Part:
    """Relative gains over the strongest plan of other baselines."""
    figures: Figures = {}
    basis: Figures = {}
    for name, variant, criteria in OTHER_BASELINES:
        combinations = table.combinations("joint", variant)
        best = strongest(table, [Plan(variant, c) for c in criteria if c in table.plans(variant)], combinations)
        gains = [] if best is None else [relative(*ours_and(table, c, best, ("joint",))) for c in combinations]
        figures |= {f"gain_mean_rel_{name}": mean(gains), f"strongest_{name}": best and best.plan}
        basis[f"gain_mean_rel_{name}"] = rests_on(table, combinations, ("joint", variant))
    return Part(figures, basis)


def of_deeper_training(table: ResultTable) -> Part:
    """The first of the gains, of networks that were pruned in training beyond the ratios tested."""
    name, both = "gain_mean_rel_to_90", ("to_90", "normal")
    combinations = table.combinations(*both)
    best = strongest(table, usual_baselines(table), table.combinations(*PAIR))
    if best is None:
        return Part({name: None}, {name: rests_on(table, combinations, both)})

    def gain(at: Combination, seeds: Sequence[int]) -> float:
        return relative(table.accuracy(at, "to_90", GATE, seeds), table.accuracy(at, *best, seeds))

    found = mean(gain(c, table.seeds(c.pair, both)) for c in combinations)
    seeds = by_seed(table, combinations, both, lambda at, seed: gain(at, [seed]))
    return Part({name: found}, {name: rests_on(table, combinations, both) | {"by_seed": seeds}})


def over_mask_blind(table: ResultTable) -> Part:
    """Points over the best plans that know nothing of the mask, with one or two sensors missing and r >= .5."""
    figures: Figures = {}
    basis: Figures = {}
    for name, candidates in MASK_BLIND.items():
        variants = ("joint", *dict.fromkeys(c.variant for c in candidates if c.variant != "joint"))
        combinations = table.combinations(*variants, only=tuple(MISSING), ratios=HIGH)
        best = strongest(table, [c for c in candidates if c.plan in table.plans(c.variant)], combinations)
        points: list[float] = []
        on = rests_on(table, combinations, variants)
        if best is not None:
            points = [100 * (a - b) for a, b in (ours_and(table, c, best, variants) for c in combinations)]
            on["by_seed"] = points_by_seed(table, combinations, variants, best)
        figures |= {f"{name}_points": mean(points, 2), f"{name}_best": best and ": ".join(best)}
        basis[f"{name}_points"] = on
    return Part(figures, basis)
