"""The figures of the study from whatever results are finished, each with what it rests on.

Wherever a strongest baseline or mask-blind plan is needed, it is the one with the highest mean on the very test accuracies that
it is then compared on, which is a choice in its favour. Budget modes come from the validation split (plans.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sentryfuse_ros.model.config import BACKBONES

from . import gains, network_figures
from .comparison import OURS, PAIR, Part, Plan, accuracies, fewest_seeds, mean, ours_and, points_by_seed, rests_on
from .conditions import RATIOS
from .result_table import Combination, ResultTable
from .run_result import RunResult
from .variants import GATE, GATE_BLIND, GATE_MODE, ORACLE, STATIC, USUAL, VARIANTS

PARTS = (
    gains.over_the_strongest,
    gains.over_other_baselines,
    gains.of_deeper_training,
    gains.over_mask_blind,
    network_figures.kept,
    network_figures.dense_gap,
    network_figures.attention,
    network_figures.num_kv_heads,
    network_figures.accuracy_r0,
)
CONTROLS = (
    *(Plan("normal", c) for c in (*USUAL, ORACLE, *STATIC)),
    *(Plan("joint", c) for c in (*USUAL, ORACLE, GATE_MODE, GATE_BLIND)),
    *(Plan("plain", c) for c in USUAL),
    Plan("mask_blind", GATE_BLIND),
    Plan("mask_blind", GATE),
    Plan("to_90", GATE),
    Plan("one_order", GATE),
    *(Plan("self_distilled", c) for c in USUAL),
    Plan("fixed_order", GATE),
)


def summarise(results: Iterable[RunResult]) -> dict[str, Any]:
    """The report, as it is written to JSON.

    summary: the figures, None where no result is finished. basis: what each figure rests on. combinations: one entry each.
    plans: other plans beside ours, over all backbones. plans_explained: the same with the backbone explained_on alone, on which
    the controls that explain were trained. accuracy: one entry per run.
    """
    results = list(results)
    table = ResultTable(results)
    explained_on = _explained_on(table)
    combinations = table.combinations(*PAIR)
    seeds = fewest_seeds(table, [c.pair for c in combinations], PAIR)
    total = Part({"combinations": len(combinations), "seeds": seeds}, {})
    for part in PARTS:
        found = part(table)
        total = Part(total.figures | found.figures, total.basis | found.basis)
    best = total.figures["strongest_baseline"]
    return {
        "summary": total.figures,
        "basis": total.basis,
        "combinations": [_line(table, c, str(best)) for c in combinations],
        "plans": [row for plan in CONTROLS if not VARIANTS[plan.variant].explains and (row := against_ours(table, plan))],
        "plans_explained": [row for plan in CONTROLS if (row := against_ours(table, plan, [explained_on]))],
        "explained_on": explained_on,
        "accuracy": accuracy_rows(results),
    }


def accuracy_rows(results: Iterable[RunResult]) -> list[dict[str, Any]]:
    """What every run reached and cost, for the record."""
    return [
        {**r.run._asdict(), "accuracy": r.accuracy, "params": r.params, "flops": r.flops, "train_s": r.train_s} for r in results
    ]


def combination_line(table: ResultTable, at: Combination, best: str, **more: Plan) -> dict[str, Any]:
    """One combination for the record: ours, the strongest criterion, the dense networks, and ``more`` plans, by seed too."""
    seeds = table.seeds(at.pair, PAIR)
    plans = {
        "ours": OURS,
        "strongest": Plan("normal", best),
        **more,
        "dense_ours": Plan("joint", "dense"),
        "dense_normal": Plan("normal", "dense"),
    }
    return {
        **at._asdict(),
        "seeds": len(seeds),
        "pruned_share": round(table.pruned_share(at), 3),
        **accuracies(table, at, plans, seeds),
        "by_seed": {str(s): accuracies(table, at, plans, [s]) for s in seeds},
    }


def _line(table: ResultTable, at: Combination, best: str) -> dict[str, Any]:
    """One combination for the record, with the accuracies of all criteria on both networks."""
    seeds = table.seeds(at.pair, PAIR)
    return {
        **combination_line(table, at, best),
        "normal": accuracies(table, at, {p: Plan("normal", p) for p in table.plans("normal")}, seeds),
        "joint": accuracies(table, at, {p: Plan("joint", p) for p in table.plans("joint") if p != GATE}, seeds),
    }


def _explained_on(table: ResultTable) -> str | None:
    """The backbone that the controls which explain were trained with; None where none of them is finished."""
    return next((b for v in VARIANTS if VARIANTS[v].explains for _, b in table.pairs("joint", v)), None)


def against_ours(
    table: ResultTable, plan: Plan, backbones: Sequence[str | None] = BACKBONES, ratios: Sequence[float] = RATIOS
) -> dict[str, Any] | None:
    """One plan beside ours, by ratio, on the combinations of these backbones that both have and on the same seeds."""
    variants = PAIR if plan.variant in PAIR else ("joint", plan.variant)
    combinations = [c for c in table.combinations(*variants, ratios=ratios) if c.backbone in backbones]
    if plan.plan not in table.plans(plan.variant) or not combinations:
        return None
    by_ratio = {}
    for ratio in ratios:
        pairs = [ours_and(table, c, plan, variants) for c in combinations if c.ratio == ratio]
        by_ratio[str(ratio)] = {
            "ours": mean(a for a, _ in pairs),
            "accuracy": mean(b for _, b in pairs),
            "points": mean((100 * (a - b) for a, b in pairs), 2),
        }
    whole = []
    for c in combinations:
        seeds = table.seeds(c.pair, variants)
        whole.append(100 * (table.accuracy(c, "joint", "dense", seeds) - table.accuracy(c, plan.variant, "dense", seeds)))
    spent = mean(
        result.plans.spent[plan.plan][str(r)]
        for pair in dict.fromkeys(c.pair for c in combinations)
        for s in table.seeds(pair, variants)
        if (result := table.of(pair, plan.variant)[s]).plans is not None and plan.plan in result.plans.spent
        for r in ratios
    )
    return {
        "variant": plan.variant,
        "plan": plan.plan,
        "points_r0": mean(whole, 2),
        "by_ratio": by_ratio,
        "spent": spent,
        "points": mean((r["points"] for r in by_ratio.values()), 2),
        "by_seed": points_by_seed(table, combinations, variants, plan),
        **rests_on(table, combinations, variants),
    }
