"""The figures of the study with the budget over the whole network, beside those of the first study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..archive import read_archive
from ..comparison import PAIR, Plan, by_seed, fewest_seeds, mean, relative, strongest
from ..conditions import RATIOS as FIRST_RATIOS
from ..result_table import Combination, ResultTable, plans_of
from ..run_result import RunResult
from ..summary import accuracy_rows, against_ours, combination_line
from ..variants import GATE, GATE_BLIND, USUAL
from .measurement import ALONE
from .stages import RATIOS
from .stem_scores import STEM_CRITERIA

FIRST_STUDY = Path(__file__).parents[2] / "results" / "pruning_nets.jsonl"
OURS = Plan("joint", GATE)
HIGH = 0.5  # ratios from here on are those of the second claim
CONTROLS = (
    *(Plan("normal", c) for c in STEM_CRITERIA),
    *(Plan("normal", c) for c in ALONE),
    *(Plan("joint", c) for c in STEM_CRITERIA),
    Plan("joint", GATE_BLIND),
    Plan("fixed_order", GATE),
    Plan("one_order", GATE),
    Plan("mask_blind", GATE_BLIND),
    Plan("mask_blind", GATE),
)


class Side(NamedTuple):
    """One comparison of ours with the usual criteria on normally trained networks."""

    table: ResultTable
    ours: Plan
    criteria: tuple[Plan, ...]
    ratios: tuple[float, ...]

    def combinations(self) -> list[Combination]:
        """Those in which both trainings and all plans are measured."""
        return self.table.combinations(*PAIR, ratios=self.ratios)


def sides(results: Iterable[RunResult], first_study: Iterable[RunResult]) -> dict[str, Side]:
    """first: the first study, early fusion. units: its budget on the networks of this one. network: the budget over everything.
    alone: the same, where a criterion's scores choose the part too, without the validation split."""
    table = ResultTable(results)
    first = ResultTable(r for r in first_study if r.run.backbone == "early" and r.plans is not None)

    def of(criteria: Iterable[str], ours: str = GATE) -> Side:
        return Side(table, Plan("joint", ours), tuple(Plan("normal", c) for c in criteria), RATIOS)

    return {
        "first": Side(first, OURS, tuple(Plan("normal", c) for c in USUAL), FIRST_RATIOS),
        "units": of((f"{c}_units" for c in STEM_CRITERIA), f"{GATE}_units"),
        "network": of(STEM_CRITERIA),
        "alone": of(ALONE),
    }


def gains(side: Side) -> dict[str, Any]:
    """Relative gains of ours over the strongest criterion of a side, with what they rest on."""
    combinations = side.combinations()
    best = strongest(side.table, side.criteria, combinations)
    kinds = {
        "all": combinations,
        "dropout": [c for c in combinations if c.condition != "all" and c.ratio >= HIGH],
        "all_sensors": [c for c in combinations if c.condition == "all"],
        **{f"r{ratio:g}": [c for c in combinations if c.ratio == ratio] for ratio in side.ratios},
        **{task: [c for c in combinations if c.task == task] for task in dict.fromkeys(c.task for c in combinations)},
    }

    def of(at: Combination, other: Plan, seeds: Sequence[int]) -> float:
        return relative(side.table.accuracy(at, *side.ours, seeds), side.table.accuracy(at, *other, seeds))

    def everywhere(at: Combination, other: Plan) -> float:
        return of(at, other, side.table.seeds(at.pair, PAIR))

    found: dict[str, Any] = {"strongest": best and best.plan}
    if best is None:
        return found
    for name, these in kinds.items():
        found[name] = {
            "value": mean(everywhere(c, best) for c in these),
            "by_seed": by_seed(side.table, these, PAIR, lambda at, seed: of(at, best, [seed])),
            "combinations": len(these),
            "seeds": fewest_seeds(side.table, [c.pair for c in these], PAIR),
        }
    found["best_each"] = found["all"] | {
        "value": mean(min(everywhere(c, plan) for plan in side.criteria) for c in combinations),
        "by_seed": by_seed(side.table, combinations, PAIR, lambda at, seed: min(of(at, p, [seed]) for p in side.criteria)),
    }
    return found


def summarise_network(results: Iterable[RunResult]) -> dict[str, Any]:
    """The report, as it is written to JSON.

    gains: by side, the relative gains of ours. combinations: one entry each. plans: other plans beside ours. kept: what the plans
    for all sensors leave, ours and the strongest criterion's. accuracy: one entry per run.
    """
    results = list(results)
    table = ResultTable(results)
    found = {name: gains(side) for name, side in sides(results, read_archive(FIRST_STUDY).values()).items()}
    best = found["network"]["strongest"]
    combinations = table.combinations(*PAIR, ratios=RATIOS) if best else []
    return {
        "gains": found,
        "combinations": [combination_line(table, c, best, alone=Plan("normal", f"{best}_alone")) for c in combinations],
        "plans": [row for plan in CONTROLS if (row := against_ours(table, plan, ratios=RATIOS))],
        "kept": [row for plan in (OURS, Plan("normal", str(best))) for row in _kept(table, plan)] if best else [],
        "accuracy": accuracy_rows(results),
    }


def _kept(table: ResultTable, plan: Plan) -> list[dict[str, Any]]:
    """What plans for all sensors run, mean over tasks and seeds, by ratio."""
    rows = []
    results = [r for pair in table.pairs(*PAIR) for r in table.of(pair, plan.variant).values()]
    for ratio in map(str, RATIOS):
        shares = [_shares(r, plans_of(r).parts[plan.plan][ratio]["1" * r.sensors]) for r in results]
        rows.append({**plan._asdict(), "ratio": float(ratio), **{k: mean((s[k] for s in shares), 2) for k in shares[0]}})
    return rows


def _shares(result: RunResult, part: str) -> Mapping[str, float]:
    """Share of the sensors, of the used sensors' stems that are whole, and the number of layers, of a part's name."""
    code, layers, ratio = part.split("/")
    used = [mark for mark in code if mark != "0"]
    return {
        "sensors": len(used) / result.sensors,
        "whole_stems": float(np.mean([mark == "1" for mark in used])),
        "layers": float(layers),
        "units_ratio": float(ratio),
    }
