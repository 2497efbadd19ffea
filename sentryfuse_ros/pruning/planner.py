"""Which sensors and which units a pruning ratio leaves, so that the time it promises to save is saved.

A ratio r is a budget: 1 - r of the time that the dense network with all sensors takes on this machine. What a plan may leave
out are units of the fusion network (in the steps of the checkpoint's ratio levels) and whole live sensors, whose tokeniser
then does not run. Of the plans that fit, the one is taken that did best on the validation recordings; among those that are
within one standard error of it, the cheapest (Breiman et al. 1984, section 3.4.3: choosing the best of many candidates on few
recordings overfits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from ..errors import ParameterError
from ..masks import mask_to_bits

Mask = tuple[bool, ...]
TOLERANCE = 1e-9


@dataclass(frozen=True)
class PlanCosts:
    """Measured times [ms] of one forward pass at batch 1, in parts: they add up to a plan's time.

    tokenizer_ms: per modality, in mask order. fusion_ms: by the mask of the sensors that a plan uses, per unit level.
    """

    tokenizer_ms: tuple[float, ...]
    fusion_ms: Mapping[str, tuple[float, ...]]

    def plan_ms(self, used: Sequence[bool], level_index: int) -> float:
        """Time of the plan that uses these sensors with the units of this level."""
        tokenizers = sum(ms for ms, here in zip(self.tokenizer_ms, used) if here)
        return tokenizers + self.fusion_ms[mask_to_bits(used)][level_index]

    @property
    def dense_ms(self) -> float:
        """Time of the dense network with all sensors."""
        return self.plan_ms((True,) * len(self.tokenizer_ms), 0)


@dataclass(frozen=True)
class PlanWorth:
    """Accuracy on validation recordings, 0..1, and its standard error, by mask of the sensors used and unit level."""

    accuracy: Mapping[str, Sequence[float | None]]
    standard_error: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class PlanChoice:
    """One deployed plan. ``used`` is part of the live mask; ``units_level`` is the ratio level whose units it runs on."""

    used: Mask
    units_level: float
    cost_ms: float | None  # measured; None where only FLOPs are known
    accuracy: float | None  # on the validation recordings


def choose_plans(
    levels: Sequence[float], costs: PlanCosts, worth: PlanWorth, sensors: int
) -> dict[tuple[Mask, float], PlanChoice]:
    """The plan of every (live mask, ratio level).

    Ratio 0 leaves nothing out. Where no plan fits the budget, the cheapest one is taken. Raises ParameterError where a mask
    has no measured accuracy at all.
    """
    every_mask = [mask for mask in product((True, False), repeat=sensors) if any(mask)]
    by_mask = {mask: _candidates(mask, levels, costs, worth) for mask in every_mask}
    plans = {}
    for live in every_mask:
        whole = by_mask[live][0]
        candidates = [c for used in every_mask if _within(used, live) for c in by_mask[used]]
        for level in levels:
            if level == 0.0:
                plans[live, level] = whole.choice
                continue
            budget_ms = (1.0 - level) * costs.dense_ms
            # A mask that is cheap enough as it is has its absent sensors to thank for it.
            plans[live, level] = whole.choice if whole.cost_ms <= budget_ms + TOLERANCE else _best(candidates, budget_ms)
    return plans


@dataclass(frozen=True)
class _Candidate:
    choice: PlanChoice
    cost_ms: float
    accuracy: float
    standard_error: float


def _candidates(used: Mask, levels: Sequence[float], costs: PlanCosts, worth: PlanWorth) -> list[_Candidate]:
    bits = mask_to_bits(used)
    accuracies, errors = worth.accuracy.get(bits, ()), worth.standard_error.get(bits, ())
    if len(accuracies) != len(levels) or len(errors) != len(levels):
        raise ParameterError(
            f"validation accuracies of sensors {bits}",
            f"{len(accuracies)} and {len(errors)} standard errors",
            f"{len(levels)}, one per ratio level",
            "train the model again, or set budget to flops",
        )
    out = []
    for index, (level, accuracy, error) in enumerate(zip(levels, accuracies, errors)):
        cost_ms = costs.plan_ms(used, index)
        # Sensors that were never live together on the validation recordings can only be a last resort: accuracy 0.
        out.append(_Candidate(PlanChoice(used, level, cost_ms, accuracy), cost_ms, accuracy or 0.0, error or 0.0))
    return out


def _best(candidates: Sequence[_Candidate], budget_ms: float) -> PlanChoice:
    fitting = [c for c in candidates if c.cost_ms <= budget_ms + TOLERANCE]
    if not fitting:
        return min(candidates, key=lambda c: c.cost_ms).choice
    best = max(fitting, key=lambda c: c.accuracy)
    good_enough = [c for c in fitting if c.accuracy >= best.accuracy - best.standard_error - TOLERANCE]
    return min(good_enough, key=lambda c: c.cost_ms).choice


def _within(used: Mask, live: Mask) -> bool:
    return all(here or not wanted for wanted, here in zip(used, live))
