"""Finished results by what they are of, and the accuracies of one combination in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .conditions import RATIOS, conditions
from .run_result import PlanResults, RunResult

Pair = tuple[str, str]  # task, backbone


class Combination(NamedTuple):
    """One line of the comparison."""

    task: str
    backbone: str
    condition: str
    ratio: float

    @property
    def pair(self) -> Pair:
        """Task and backbone."""
        return self.task, self.backbone


class ResultTable:
    """The results that are finished, whichever they are."""

    def __init__(self, results: Iterable[RunResult]):
        self._results: dict[tuple[str, str, str], dict[int, RunResult]] = {}
        for result in results:
            run = result.run
            self._results.setdefault((run.task, run.backbone, run.variant), {})[run.seed] = result

    def of(self, pair: Pair, variant: str) -> Mapping[int, RunResult]:
        """{seed: result}; empty where none is finished."""
        return self._results.get((*pair, variant), {})

    def any_of(self, pair: Pair, variant: str) -> RunResult:
        """The result of some seed, for what is the same in all."""
        return next(iter(self.of(pair, variant).values()))

    def pairs(self, *variants: str) -> list[Pair]:
        """The pairs that have at least one seed in common in all of the variants."""
        found = dict.fromkeys((task, backbone) for task, backbone, _ in self._results)
        return [pair for pair in found if self.seeds(pair, variants)]

    def seeds(self, pair: Pair, variants: Iterable[str]) -> list[int]:
        """The seeds that all of the variants have."""
        return sorted(set.intersection(*(set(self.of(pair, v)) for v in variants)))

    def combinations(self, *variants: str, only: Sequence[str] = (), ratios: Sequence[float] = RATIOS) -> list[Combination]:
        """All combinations in which the variants can be compared; with ``only``, those of these conditions."""
        out = []
        for pair in self.pairs(*variants):
            result = self.any_of(pair, variants[0])
            if result.plans is not None:
                kinds = [c for c in conditions(result.sensors) if not only or c in only]
                out += [Combination(*pair, c, r) for c in kinds for r in ratios]
        return out

    def plans(self, variant: str) -> tuple[str, ...]:
        """The plans that all results of a variant have, in the order in which they were measured."""
        tests = [
            result.plans.test
            for (_, _, v), seeds in self._results.items()
            for result in seeds.values()
            if v == variant and result.plans is not None
        ]
        return tuple(p for p in tests[0] if all(p in t for t in tests)) if tests else ()

    def accuracy(self, at: Combination, variant: str, plan: str, seeds: Sequence[int]) -> float:
        """Mean over the seeds; the plan "dense" is the whole network under the same condition."""
        return float(np.mean([accuracy_of(self.of(at.pair, variant)[s], plan, at) for s in seeds]))

    def pruned_share(self, at: Combination) -> float:
        """The share of the condition's masks under which there is something to prune; under the others all plans are equal."""
        result = self.any_of(at.pair, "joint")
        whole = plans_of(result).whole[str(at.ratio)]
        return sum(w for bits, w in conditions(result.sensors)[at.condition].items() if bits not in whole)


def plans_of(result: RunResult) -> PlanResults:
    """The results of the plans, of a run whose plans were measured."""
    if result.plans is None:
        raise ValueError(f"{result.run.name} has no plans")
    return result.plans


def accuracy_of(result: RunResult, plan: str, at: Combination) -> float:
    """The accuracy of one result's plan under a condition: the weighted mean over its masks."""
    plans = plans_of(result)
    row = plans.dense if plan == "dense" else plans.test[plan][str(at.ratio)]
    return sum(w * row[bits] for bits, w in conditions(result.sensors)[at.condition].items())
