"""The parts of every figure: which plan is the strongest, ours beside another plan, means by seed, and what a figure rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from .conditions import RATIOS
from .result_table import Combination, Pair, ResultTable
from .variants import GATE, USUAL

Figures = dict[str, object]  # name -> a number, None where no result is finished, or a table of numbers


class Plan(NamedTuple):
    """What is compared: a way of training, and what ranks the units of its networks."""

    variant: str
    plan: str


OURS = Plan("joint", GATE)
PAIR = ("joint", "normal")  # the trainings of the comparison itself
HIGH = tuple(r for r in RATIOS if r >= 0.5)


class Part(NamedTuple):
    """Some of the figures, and what each of them rests on."""

    figures: Figures
    basis: Figures


def strongest(table: ResultTable, candidates: Sequence[Plan], combinations: Sequence[Combination]) -> Plan | None:
    """The candidate with the highest mean over the combinations, on the seeds that all variants have."""
    if not combinations or not candidates:
        return None
    variants = {"joint", *(c.variant for c in candidates)}

    def mean_accuracy(plan: Plan) -> float:
        return float(np.mean([table.accuracy(c, *plan, table.seeds(c.pair, variants)) for c in combinations]))

    return max(candidates, key=mean_accuracy)


def usual_baselines(table: ResultTable) -> list[Plan]:
    """The baselines of the comparison itself: the usual criteria that were measured, on the normally trained network."""
    return [Plan("normal", c) for c in USUAL if c in table.plans("normal")]


def ours_and(
    table: ResultTable, at: Combination, plan: Plan, variants: Iterable[str] = PAIR, seeds: Sequence[int] = ()
) -> tuple[float, float]:
    """The accuracies of ours and of another plan on the seeds given, else on those that all of the variants have."""
    seeds = seeds or table.seeds(at.pair, {"joint", plan.variant, *variants})
    return table.accuracy(at, *OURS, seeds), table.accuracy(at, *plan, seeds)


def relative(ours: float, other: float) -> float:
    """Relative gain of ours over the other."""
    return ours / max(other, 1e-9) - 1


def gap(table: ResultTable, pair: Pair, other: str, ours: str) -> float | None:
    """Points that one variant is ahead of another at r = 0 with all sensors, mean over their common seeds."""
    return mean((gap_of_seed(table, pair, other, ours, seed) for seed in table.seeds(pair, (other, ours))), 2)


def gap_of_seed(table: ResultTable, pair: Pair, other: str, ours: str, seed: int) -> float:
    """The same for one seed."""
    return 100 * (table.of(pair, other)[seed].accuracy - table.of(pair, ours)[seed].accuracy)


Item = TypeVar("Item", Combination, Pair)


def by_seed(
    table: ResultTable, items: Sequence[Item], variants: Iterable[str], value: Callable[[Item, int], float], digits: int = 4
) -> dict[str, float | None]:
    """{seed: mean of a value over items}, which shows how far the seeds are apart.

    Only seeds that every pair has are among them, since the means of others would be of other items.
    """
    variants = tuple(variants)
    common = set.intersection(*(set(table.seeds((i[0], i[1]), variants)) for i in items)) if items else set()
    return {str(seed): mean((value(item, seed) for item in items), digits) for seed in sorted(common)}


def points_by_seed(
    table: ResultTable, combinations: Sequence[Combination], variants: Iterable[str], plan: Plan
) -> dict[str, float | None]:
    """{seed: mean over the combinations of the points that ours is ahead of another plan}."""

    def points(at: Combination, seed: int) -> float:
        return 100 * float(np.subtract(*ours_and(table, at, plan, seeds=[seed])))

    return by_seed(table, combinations, variants, points, 2)


def rests_on(table: ResultTable, combinations: Sequence[Combination], variants: Sequence[str]) -> dict[str, object]:
    """What a figure over combinations rests on."""
    return {"combinations": len(combinations), "seeds": fewest_seeds(table, [c.pair for c in combinations], variants)}


def fewest_seeds(table: ResultTable, pairs: Iterable[Pair], variants: Sequence[str]) -> int:
    """The smallest number of common seeds of any of the pairs; 0 without pairs."""
    return min((len(table.seeds(pair, variants)) for pair in dict.fromkeys(pairs)), default=0)


def mean(values: Iterable[float | None], digits: int = 4) -> float | None:
    """The rounded mean, or None of no values."""
    known = [v for v in values if v is not None]
    return round(float(np.mean(known)), digits) if known else None


def accuracies(table: ResultTable, at: Combination, plans: Mapping[str, Plan], seeds: Sequence[int]) -> dict[str, float]:
    """The rounded accuracies of several plans in one combination."""
    return {name: round(table.accuracy(at, *plan, seeds), 4) for name, plan in plans.items()}
