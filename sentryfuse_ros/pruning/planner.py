"""Which sensors and which units a pruning ratio leaves, so that the time it promises to save is saved.

A ratio r is a budget: 1 - r of the time that the dense network with all sensors takes on this machine. What a plan may leave
out are units of the fusion network (in the steps of the checkpoint's ratio levels) and whole live sensors, whose tokeniser
then does not run. Of the plans that fit, all that are within one standard error of the most accurate one on the validation
recordings count as equally good, because choosing the best of many candidates on few recordings overfits (Breiman et al. 1984,
section 3.4.3). Of these, the plan is taken that uses most of the budget: more sensors and units seldom know less. A plan that
loses more accuracy than is allowed is no candidate, even where nothing else fits: the cheapest of the others runs instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ParameterError
from ..masks import all_masks, mask_to_bits

Mask = tuple[bool, ...]
Choices = Mapping[tuple[Mask, float], "PlanChoice"]  # by the mask of the live sensors and the ratio level
TOLERANCE = 1e-9


@dataclass(frozen=True)
class PlanCosts:
    """Measured time [ms] of one forward pass at batch size 1, by the mask of the sensors used and unit level."""

    plan_ms: Mapping[str, tuple[float, ...]]

    @property
    def dense_ms(self) -> float:
        """Time of the dense network with all sensors."""
        return self.plan_ms[max(self.plan_ms, key=lambda bits: bits.count("1"))][0]


@dataclass(frozen=True)
class PlanWorth:
    """Accuracy on validation recordings, 0..1, and its standard error, by mask of the sensors used and unit level.

    An accuracy is None where no validation recording had these sensors.
    """

    accuracy: Mapping[str, Sequence[float | None]]
    standard_error: Mapping[str, Sequence[float | None]]

    @classmethod
    def of_checkpoint(cls, info: Mapping[str, Any], sensors: int, levels: int) -> PlanWorth:
        """What a checkpoint's training measured. Raises ParameterError where it lacks accuracies."""
        metrics = info.get("metrics", {})
        source = next((name for name in ("validation", "cross_validation") if f"{name}_accuracy" in metrics), "validation")
        accuracy = metrics.get(f"{source}_accuracy", {})
        incomplete = [b for b in map(mask_to_bits, all_masks(sensors)) if len(accuracy.get(b, ())) != levels]
        if incomplete:
            raise ParameterError(
                "validation accuracies of the model",
                f"none for {len(incomplete)} of {2**sensors - 1} sets of sensors",
                f"{levels} numbers for each, one per ratio level",
                "train it with validation groups, or set budget to flops",
            )
        # A model trained before standard errors were kept has none: then nothing counts as equally good as the best plan.
        return cls(accuracy, metrics.get(f"{source}_standard_error", {}))


@dataclass(frozen=True)
class PlanChoice:
    """One deployed plan. ``used`` is part of the live mask; ``units_level`` is the ratio level whose units it runs on."""

    used: Mask
    units_level: float
    cost_ms: float | None = None  # measured; None where only FLOPs are known
    accuracy: float | None = None  # on the validation recordings


def choose_plans(
    levels: Sequence[float], costs: PlanCosts, worth: PlanWorth, sensors: int, most_lost: float = 1.0
) -> dict[tuple[Mask, float], PlanChoice]:
    """The plan of every (live mask, ratio level).

    Ratio 0 leaves nothing out. A mask whose absent sensors already save enough runs whole. ``most_lost``: accuracy (0..1) that a
    plan may lose against all live sensors with all units. Where no plan fits the budget, the cheapest one is taken.
    """
    masks = [tuple(mask) for mask in all_masks(sensors)]
    by_mask = {mask: _candidates(mask, levels, costs, worth) for mask in masks}
    plans: dict[tuple[Mask, float], PlanChoice] = {}
    for live in masks:
        whole = by_mask[live][0]
        enough = whole.accuracy - most_lost - TOLERANCE
        candidates = [c for used in masks if _within(used, live) for c in by_mask[used] if c.accuracy >= enough]
        for level in levels:
            budget_ms = (1.0 - level) * costs.dense_ms
            fits = level == 0.0 or whole.cost_ms <= budget_ms + TOLERANCE
            plans[live, level] = whole.choice if fits else _best(candidates, budget_ms)
    return plans


@dataclass(frozen=True)
class _Candidate:
    choice: PlanChoice
    cost_ms: float
    accuracy: float
    standard_error: float


def _candidates(used: Mask, levels: Sequence[float], costs: PlanCosts, worth: PlanWorth) -> list[_Candidate]:
    bits = mask_to_bits(used)
    errors = worth.standard_error.get(bits) or [0.0] * len(levels)
    # Sensors that were never live together on the validation recordings can only be a last resort: accuracy 0.
    return [
        _Candidate(PlanChoice(used, level, cost_ms, accuracy), cost_ms, accuracy or 0.0, error or 0.0)
        for level, cost_ms, accuracy, error in zip(levels, costs.plan_ms[bits], worth.accuracy[bits], errors, strict=True)
    ]


def _best(candidates: Sequence[_Candidate], budget_ms: float) -> PlanChoice:
    fitting = [c for c in candidates if c.cost_ms <= budget_ms + TOLERANCE]
    if not fitting:
        return min(candidates, key=lambda c: c.cost_ms).choice
    best = max(fitting, key=lambda c: c.accuracy)
    good_enough = [c for c in fitting if c.accuracy >= best.accuracy - best.standard_error - TOLERANCE]
    return max(good_enough, key=lambda c: c.cost_ms).choice


def _within(used: Mask, live: Mask) -> bool:
    return all(here or not wanted for wanted, here in zip(used, live))
