"""What changes in the course of a training: sensor dropout, pruning ratio, gate noise, learning rate. Time runs from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..validation import Share, ShareAboveZero, ShareBelowOne, check


@dataclass(frozen=True)
class Schedule:
    """Times are shares of the whole training. docs/MODEL.md says where the numbers come from."""

    # The chance that a batch lacks at least one sensor rises from drop_from at the start to drop_to at the time drop_until.
    drop_from: Share = 0.2
    drop_to: Share = 0.8
    drop_until: ShareAboveZero = 0.4
    # Where sensors are missing: the chances that one, two or three of them are.
    missing: tuple[Share, ...] = (0.45, 0.40, 0.15)
    # The pruned pass draws its ratio evenly from 0 up to a limit. The limit starts at the share ratio_from of ratio_max and rises
    # until the time ratio_until. Ratios above ratio_max are not trained for, so none above it should be deployed.
    ratio_max: Share = 0.9
    ratio_until: ShareAboveZero = 0.3
    ratio_from: Share = 0.1
    # Until this time the gate learns and noise (Gumbel, its scale falling from 1 to 0) is added to the choice of units.
    freeze_at: ShareAboveZero = 0.4
    # The learning rate rises over this share of the training and then falls as a cosine.
    warmup: ShareBelowOne = 0.05

    def __post_init__(self) -> None:
        check(self, "training recipe schedule", "correct the training YAML")

    def drop_chance(self, t: float) -> float:
        """The chance that a batch lacks at least one sensor."""
        return self.drop_from + (self.drop_to - self.drop_from) * min(1.0, t / self.drop_until)

    def draw_mask(self, t: float, modalities: int, rng: np.random.Generator) -> tuple[bool, ...]:
        """Draw the mask (M,) of a batch; at least one sensor stays live."""
        mask = np.ones(modalities, bool)
        if modalities > 1 and rng.random() < self.drop_chance(t):
            weights = np.array(self.missing[: modalities - 1])
            count = 1 + rng.choice(len(weights), p=weights / weights.sum())
            mask[rng.choice(modalities, count, replace=False)] = False
        return tuple(mask.tolist())

    def draw_ratio(self, t: float, rng: np.random.Generator) -> float:
        """Draw the pruning ratio of the pruned pass of a batch."""
        return float(rng.uniform(0, self.ratio_max * min(1.0, t / self.ratio_until + self.ratio_from)))

    def tau(self, t: float) -> float:
        """The scale of the Gumbel noise on the gate's scores; 0 once the gate is frozen."""
        return max(0.0, 1.0 - t / self.freeze_at)

    def learning_rate(self, t: float) -> float:
        """The factor on the learning rates."""
        if t < self.warmup:
            return (t + 1e-3) / (self.warmup + 1e-3)
        return 0.5 * (1 + math.cos(math.pi * (t - self.warmup) / (1 - self.warmup)))
