"""Finished cells by what they are of, and the accuracies of one combination in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .conditions import RATIOS, conditions


class Combination(NamedTuple):
    """One line of the comparison."""

    application: str
    backbone: str
    condition: str
    ratio: float


class Results:
    """Cells as `cells.run_cell` gives them, whichever are finished."""

    def __init__(self, cells: Iterable[Mapping[str, Any]]):
        self._cells: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
        for cell in cells:
            net = cell["net"]
            self._cells.setdefault((net["application"], net["backbone"], net["variant"]), {})[net["seed"]] = cell

    def of(self, application: str, backbone: str, variant: str) -> Mapping[int, Mapping[str, Any]]:
        """{seed: cell}; empty where none is finished."""
        return self._cells.get((application, backbone, variant), {})

    def pairs(self, *variants: str) -> list[tuple[str, str]]:
        """(application, backbone) that have at least one seed in common in all of the variants."""
        found = dict.fromkeys((a, b) for a, b, _ in self._cells)
        return [pair for pair in found if self.seeds(pair, variants)]

    def seeds(self, pair: tuple[str, str], variants: Iterable[str]) -> list[int]:
        """Seeds that all of the variants have."""
        return sorted(set.intersection(*(set(self.of(*pair, v)) for v in variants)))

    def combinations(self, *variants: str, only: Sequence[str] = (), ratios: Sequence[float] = RATIOS) -> list[Combination]:
        """All combinations that can be compared among the variants; ``only``: of these conditions."""
        out = []
        for application, backbone in self.pairs(*variants):
            cell = next(iter(self.of(application, backbone, variants[0]).values()))
            if "test" in cell:
                out += [
                    Combination(application, backbone, c, r)
                    for c in conditions(cell["sensors"])
                    for r in ratios
                    if not only or c in only
                ]
        return out

    def plans(self, variant: str) -> tuple[str, ...]:
        """Plans that all cells of a variant have, in the order they were measured."""
        tests = [c["test"] for (_, _, v), seeds in self._cells.items() if v == variant for c in seeds.values() if "test" in c]
        return tuple(p for p in tests[0] if all(p in t for t in tests)) if tests else ()

    def accuracy(self, at: Combination, variant: str, plan: str, seeds: Sequence[int]) -> float:
        """Mean over the seeds; plan "dense": at r = 0 under the same condition."""
        return float(np.mean([accuracy_of(self.of(at.application, at.backbone, variant)[s], plan, at) for s in seeds]))

    def pruned_share(self, at: Combination) -> float:
        """Under which share of the condition's masks the budget leaves something to prune: else all plans are the whole net."""
        cell = next(iter(self.of(at.application, at.backbone, "joint").values()))
        whole = cell["whole"][str(at.ratio)]
        return sum(w for bits, w in conditions(cell["sensors"])[at.condition].items() if bits not in whole)


def accuracy_of(cell: Mapping[str, Any], plan: str, at: Combination) -> float:
    """Accuracy of one cell's plan under a condition: the mean over masks by their weight."""
    row = cell["dense"] if plan == "dense" else cell["test"][plan][str(at.ratio)]
    return sum(w * row[bits] for bits, w in conditions(cell["sensors"])[at.condition].items())
