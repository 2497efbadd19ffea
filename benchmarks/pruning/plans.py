"""The plans that are compared on one network: what ranks the units, which budget mode they have, and their accuracies."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.gate import Scores
from sentryfuse_ros.model.sites import live_sites
from sentryfuse_ros.pruning.slicing import gate_scores, slice_weights
from sentryfuse_ros.pruning.units import SiteKeep

from .budgets import BUDGET_MODES, study_plan
from .conditions import RATIOS
from .criteria import CRITERIA, Calibration, unit_scores
from .examples import Held
from .variants import GATE, GATE_BLIND, GATE_MODE, ORACLE, STATIC

BATCH = 300  # examples that are run at once

Mask = tuple[bool, ...]
Modes = dict[str, dict[str, str]]  # plan -> ratio -> budget mode
Key = TypeVar("Key", bound=Hashable)


class Asked(NamedTuple):
    """One plan."""

    plan: str  # what ranks the units
    mode: str  # budget mode
    ratio: float


class Ranking:
    """Scores of the units by any criterion. Each criterion is measured once, the oracle once per mask."""

    def __init__(self, model: SentryFuse, calibration: Calibration | None, seed: int):
        self.model, self.calibration, self.seed = model, calibration, seed
        self._known: dict[tuple[str, Mask], Scores] = {}

    def __call__(self, plan: str, mask: Mask) -> Scores:
        """Heads (sites, H) and channels (sites, C)."""
        everyone = (True,) * len(mask)
        key = (STATIC.get(plan, plan), mask if plan in (GATE, GATE_MODE, ORACLE) else everyone)
        if key not in self._known:
            name, asked = key
            if name in CRITERIA:
                self._known[key] = unit_scores(name, self.model, self.calibration, asked, self.seed)
            else:
                self._known[key] = gate_scores(self.model, asked)
        return self._known[key]


def choose_modes(model: SentryFuse, held: Held, plans: Sequence[str], rank: Ranking, known: Modes) -> Modes:
    """The budget mode that is better on the validation split, in the mean of all sensors and each one missing.

    The gate was trained with the even budget and keeps it, except for `GATE_MODE`. Mode "even" wins a tie. A static plan has the
    mode of its criterion; ``known`` are the modes of plans that were measured before.
    """
    masks = [mask for mask in all_masks(len(model.config.names)) if sum(mask) >= len(mask) - 1]
    chosen = {plan: dict.fromkeys(map(str, RATIOS), "even") for plan in plans}
    tried = [plan for plan in plans if plan in CRITERIA or plan == GATE_MODE]
    correct: dict[Asked, list[float]] = {Asked(p, m, r): [] for p in tried for m in BUDGET_MODES for r in RATIOS}
    for mask in masks if tried else ():
        for key, value in plan_accuracies(model, held, mask, make_plans(model, mask, correct, rank)).items():
            correct[key].append(value)
    for plan in tried:
        for ratio in RATIOS:
            if np.mean(correct[Asked(plan, "global", ratio)]) > np.mean(correct[Asked(plan, "even", ratio)]):
                chosen[plan][str(ratio)] = "global"
    return chosen | {plan: (chosen | known)[criterion] for plan, criterion in STATIC.items() if plan in plans}


def make_plans(model: SentryFuse, mask: Mask, asked: Iterable[Asked], rank: Ranking) -> dict[Asked, list[SiteKeep]]:
    """The plans asked for, all at one budget; all but the blind and the static ones spend what absent sensors free."""
    left = {live.site for live in live_sites(model.config, model.lengths, mask)}

    def make(one: Asked) -> list[SiteKeep]:
        scores = rank(one.plan, mask)
        if one.plan in STATIC:  # the plan for all sensors, of which only the sites stay that are live under the mask
            whole = study_plan(model, (True,) * len(mask), one.ratio, scores, one.mode)
            return [keep for keep in whole if keep.site in left]
        return study_plan(model, mask, one.ratio, scores, one.mode, spend_freed=one.plan != GATE_BLIND)

    return {one: make(one) for one in asked}


@torch.no_grad()  # not inference mode: criteria run backward passes through the same network afterwards
def plan_accuracies(model: SentryFuse, held: Held, mask: Mask, plans: Mapping[Key, Sequence[SiteKeep]]) -> dict[Key, float]:
    """The accuracy of every plan; plans that keep the same units are run once."""
    device = model.gate.static.device
    alike: dict[tuple, list[Key]] = {}
    for key, plan in plans.items():
        alike.setdefault(tuple(unit_key(keep) for keep in plan), []).append(key)
    weights = [slice_weights(model, plans[keys[0]]) for keys in alike.values()]
    correct = np.zeros(len(alike), np.int64)
    for start in range(0, len(held.labels), BATCH):
        part = slice(start, start + BATCH)
        tokens = model.tokens({n: x[part].to(device) for n, x in held.inputs.items()}, mask)
        for i, w in enumerate(weights):
            correct[i] += (model.fuse(tokens, w).logits.argmax(1).cpu().numpy() == held.labels[part]).sum()
    return {key: round(float(n / len(held.labels)), 5) for keys, n in zip(alike.values(), correct) for key in keys}


def unit_key(keep: SiteKeep) -> tuple:
    """Equal for two choices of units of one site that are the same."""
    return (keep.site,) if keep.whole else (keep.site, tuple(keep.heads.tolist()), tuple(keep.channels.tolist()))
