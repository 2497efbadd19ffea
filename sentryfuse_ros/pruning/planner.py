"""Which part of the network a pruning ratio leaves, so that the time it promises to save is saved.

A ratio r is a budget: 1 - r of the time that the dense network with all sensors takes on this machine. What a plan may leave
out are whole live sensors, whose tokeniser then does not run; channels and features of a sensor's stem; layers of the backbone,
and the heads and channels of the layers that stay (`model.subnetwork`). Of the plans that fit, all that are within one standard
error of the most accurate one on the validation recordings count as equally good, because choosing the best of many candidates
on few recordings overfits (Breiman et al. 1984, section 3.4.3). Of these, those that use most sensors are taken, since they
lean on no single one, and of these the one that uses most of the budget. A plan that loses more accuracy than is allowed is no
candidate. Where no candidate fits, those that take up to 15 % longer than the cheapest one count as fitting, as long as they
take no longer than the plan of the ratio below.

A plan may also hold its pictures: cameras and LiDARs then give a new picture only to some predictions, and the others are made
from the tokens of the last one, so that their stems cost only a share of their time. What that costs in accuracy was measured on
the validation recordings with pictures that are as old as that. At low ratios, of equally good plans with as many sensors, those
that hold nothing come first: a new picture is worth more than a larger stem where nothing is known of how fast the scene changes.

From a certain ratio on, a plan that holds nothing gives way to one that does, because receiving pictures costs a robot more than
the whole inference, and only plans that hold them save that. This may cost up to two standard errors: as much as the best plan
that fits and holds may be behind the best one that fits. Of the plans that hold and are as good as the best of them, with as many
sensors, the one that takes least time is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..masks import all_masks, mask_to_bits
from ..model.config import FuseConfig
from ..model.subnetwork import ABSENT, Mask, Subnetwork, all_codes, of_code

Choices = Mapping[tuple[Mask, float], "PlanChoice"]  # by the mask of the live sensors and the ratio level
NEARLY_CHEAPEST = 1.15  # of the cheapest plan's time, where no plan fits the budget
HOLDING_MAY_LOSE = 2.0  # standard errors, against the best plan, where a ratio asks for plans that hold their pictures
TOLERANCE = 1e-9


@dataclass(frozen=True)
class PlanCosts:
    """Measured time [ms] of one forward pass at batch size 1.

    plan_ms: with a new picture of each camera and LiDAR, {`Subnetwork.code`: time per fusion size of the model}. picture_ms: the
    share of it that a new picture takes, per sensor (M,) and size of its stem; () for a sensor whose tokens are not kept.
    """

    plan_ms: Mapping[str, tuple[float, ...]]
    picture_ms: tuple[tuple[float, ...], ...] = ()

    def pictures_ms(self, code: str) -> float:
        """Time that new pictures take in a plan [ms]."""
        marks = zip(code, self.picture_ms)  # none where no picture was measured
        return sum(per_size[int(mark) - 1] for mark, per_size in marks if mark != ABSENT and per_size)

    @property
    def dense_ms(self) -> float:
        """Time of the dense network with all sensors."""
        return self.plan_ms["1" * len(next(iter(self.plan_ms)))][0]


@dataclass(frozen=True)
class PlanWorth:
    """Accuracy on validation recordings, 0..1, and its standard error: {`Subnetwork.code`: one per fusion size of the model}.

    An accuracy is None where no validation recording had these sensors. ``held`` is the same with pictures that are ``hold_s``
    old [s], for the codes with a camera or LiDAR; without it, no plan holds its pictures.
    """

    accuracy: Mapping[str, Sequence[float | None]]
    standard_error: Mapping[str, Sequence[float | None]]
    held: PlanWorth | None = None
    hold_s: float = 0.0

    @classmethod
    def of_checkpoint(cls, info: Mapping[str, Any], config: FuseConfig) -> PlanWorth:
        """What a checkpoint's training measured. Raises ParameterError where it lacks accuracies."""
        metrics, codes = info.get("metrics", {}), list(all_codes(config))
        for name in ("validation_plan", "cross_validation_plan", "validation", "cross_validation"):
            accuracy = metrics.get(f"{name}_accuracy", {})
            if all(len(accuracy.get(code, ())) == len(config.fusion_sizes) for code in codes):
                # A model trained before standard errors were kept has none: then nothing counts as equally good as the best plan.
                error, hold_s = metrics.get(f"{name}_standard_error", {}), float(metrics.get("hold_s", 0.0))
                held = metrics.get(f"{name}_held_accuracy") if hold_s > 0 else None
                if not held:
                    return cls(accuracy, error)
                return cls(accuracy, error, cls(held, metrics.get(f"{name}_held_standard_error", {})), hold_s)
        raise ParameterError(
            "validation accuracies of the model",
            "none" if not metrics else ", ".join(sorted(metrics)),
            f"{len(config.fusion_sizes)} numbers for each of {len(codes)} sets of sensors and sizes of their stems",
            "train it with validation groups, or set budget to flops",
        )


@dataclass(frozen=True)
class PlanChoice:
    """One deployed plan. The sensors it uses are among the live ones."""

    part: Subnetwork
    cost_ms: float | None = None  # measured, on average; None where only FLOPs are known
    accuracy: float | None = None  # on the validation recordings
    hold_s: float = 0.0  # for which a picture of a camera or LiDAR serves [s]; 0: each prediction has the newest
    shared_by: int = 1  # predictions that have the same picture

    @property
    def used(self) -> Mask:
        """The sensors that take part (M,)."""
        return self.part.used


def choose_plans(
    config: FuseConfig,
    costs: PlanCosts,
    worth: PlanWorth,
    most_lost: float = 1.0,
    rate_hz: float = 0.0,
    hold_from_ratio: float = 1.0,
) -> dict[tuple[Mask, float], PlanChoice]:
    """The plan of every (live mask, ratio level).

    Ratio 0 leaves nothing out. A mask whose absent sensors already save enough runs whole. ``most_lost``: accuracy (0..1) that a
    plan may lose against all live sensors with the whole network. ``rate_hz``: predictions a second, which share held pictures;
    with 0, none is held. ``hold_from_ratio``: from which on plans that hold their pictures are preferred to others.
    """
    candidates = _Candidates(config, costs, worth, rate_hz)
    plans: dict[tuple[Mask, float], PlanChoice] = {}
    for live in (tuple(mask) for mask in all_masks(len(config.names))):
        whole = candidates.place[mask_to_bits(live), 0, False]
        possible = np.flatnonzero(
            ~(candidates.used & ~np.array(live)).any(1)
            & (candidates.accuracy >= candidates.accuracy[whole] - most_lost - TOLERANCE)
        )
        place = whole
        for level in config.ratio_levels:
            budget_ms = (1.0 - level) * costs.dense_ms + TOLERANCE
            if level > 0.0 and candidates.cost_ms[whole] > budget_ms:
                # A higher ratio never takes longer than a lower one.
                most_ms, prefer_held = candidates.cost_ms[place], level >= hold_from_ratio - TOLERANCE
                place = candidates.best(possible, min(budget_ms, most_ms), most_ms, prefer_held)
            plans[live, level] = candidates.choice(place)
    return plans


class _Candidates:
    """All subnetworks of a model that may be deployed, as columns of a table."""

    def __init__(self, config: FuseConfig, costs: PlanCosts, worth: PlanWorth, rate_hz: float):
        self.config, self.hold_s = config, worth.hold_s
        self.shared_by = shared_by = predictions_per_picture(worth.hold_s, rate_hz)
        sizes = range(len(config.fusion_sizes))
        self.keys = [(code, size, False) for code in costs.plan_ms for size in sizes]
        if worth.held is not None and shared_by > 1:
            self.keys += [(code, size, True) for code in worth.held.accuracy if costs.pictures_ms(code) > 0 for size in sizes]
        self.place = {key: i for i, key in enumerate(self.keys)}
        self.used = np.array([of_code(code, config.fusion_sizes[0]).used for code, _, _ in self.keys])  # (n, M)
        saved_ms = {code: costs.pictures_ms(code) * (1.0 - 1.0 / shared_by) for code in costs.plan_ms}
        self.cost_ms = np.array([costs.plan_ms[code][size] - held * saved_ms[code] for code, size, held in self.keys])
        self.held = np.array([held for _, _, held in self.keys])
        self.accuracy = np.empty(len(self.keys))
        self.error = np.empty(len(self.keys))
        none = [0.0] * len(sizes)
        for i, (code, size, held) in enumerate(self.keys):
            of = worth.held if held and worth.held is not None else worth
            # Sensors that were never live together on the validation recordings can only be a last resort: accuracy 0.
            self.accuracy[i] = of.accuracy[code][size] or 0.0
            self.error[i] = (of.standard_error.get(code) or none)[size] or 0.0

    def best(self, possible: np.ndarray, budget_ms: float, most_ms: float, prefer_held: bool) -> int:
        """The place of the plan to run, among ``possible`` places. None may take longer than ``most_ms``."""
        fitting = possible[self.cost_ms[possible] <= budget_ms]
        if not len(fitting):
            limit_ms = min(NEARLY_CHEAPEST * self.cost_ms[possible].min(), most_ms)
            fitting = possible[self.cost_ms[possible] <= limit_ms + TOLERANCE]
        place = self._usual(fitting)
        if prefer_held and not self.held[place] and len(held := fitting[self.held[fitting]]):
            most = fitting[self.accuracy[fitting].argmax()]
            if self.accuracy[held].max() >= self.accuracy[most] - HOLDING_MAY_LOSE * self.error[most] - TOLERANCE:
                good_enough = self._equally_good(held)
                return int(good_enough[self.cost_ms[good_enough].argmin()])
        return place

    def _usual(self, fitting: np.ndarray) -> int:
        """The place of the plan among ``fitting`` ones that a low ratio runs."""
        good_enough = self._equally_good(fitting)
        if not self.held[good_enough].all():  # a picture is held only for what nothing else gives
            good_enough = good_enough[~self.held[good_enough]]
        return int(good_enough[self.cost_ms[good_enough].argmax()])

    def _equally_good(self, fitting: np.ndarray) -> np.ndarray:
        """The places of those that are within one standard error of the most accurate, with as many sensors as any of them."""
        most = fitting[self.accuracy[fitting].argmax()]
        good_enough = fitting[self.accuracy[fitting] >= self.accuracy[most] - self.error[most] - TOLERANCE]
        sensors = self.used[good_enough].sum(1)
        return good_enough[sensors == sensors.max()]

    def choice(self, place: int) -> PlanChoice:
        code, size, held = self.keys[place]
        part = of_code(code, self.config.fusion_sizes[size])
        hold = (self.hold_s, self.shared_by) if held else (0.0, 1)
        return PlanChoice(part, float(self.cost_ms[place]), float(self.accuracy[place]), *hold)


def predictions_per_picture(hold_s: float, rate_hz: float) -> int:
    """How many successive predictions have the same picture, if a picture serves for ``hold_s``; at least 1."""
    return max(1, math.floor(hold_s * rate_hz + TOLERANCE))
