"""What changes as training goes on: sensor dropout, pruning ratio, gate noise, learning rate. t runs from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Schedule:
    """Times are shares of the training; docs/MODEL.md says where the numbers come from."""

    drop_from: float = 0.2  # chance that a batch lacks a sensor, at the start
    drop_to: float = 0.8  # and after drop_until
    drop_until: float = 0.4
    missing: tuple[float, ...] = (0.45, 0.40, 0.15)  # chances of 1, 2, 3 missing sensors, given that some are
    ratio_max: float = 0.9  # pruned pass: ratio uniform in 0 .. this, the highest that is deployed,
    ratio_until: float = 0.3  # reached at this time,
    ratio_from: float = 0.1  # starting from this share of it
    freeze_at: float = 0.4  # gate learns and selection is noisy (Gumbel, tau 1 -> 0) until then
    warmup: float = 0.05  # learning rate rises over this share, then falls as a cosine

    def drop_chance(self, t: float) -> float:
        """Chance that a batch lacks at least one sensor."""
        return self.drop_from + (self.drop_to - self.drop_from) * min(1.0, t / self.drop_until)

    def draw_mask(self, t: float, modalities: int, rng: np.random.Generator) -> tuple[bool, ...]:
        """One mask for a batch: at least one sensor stays."""
        mask = np.ones(modalities, bool)
        if modalities > 1 and rng.random() < self.drop_chance(t):
            weights = np.array(self.missing[: modalities - 1])
            count = 1 + rng.choice(len(weights), p=weights / weights.sum())
            mask[rng.choice(modalities, count, replace=False)] = False
        return tuple(mask.tolist())

    def draw_ratio(self, t: float, rng: np.random.Generator) -> float:
        """Pruning ratio of a batch's pruned pass."""
        return float(rng.uniform(0, self.ratio_max * min(1.0, t / self.ratio_until + self.ratio_from)))

    def tau(self, t: float) -> float:
        """Scale of the Gumbel noise on the gate's scores; 0 once the gate is frozen."""
        return max(0.0, 1.0 - t / self.freeze_at)

    def learning_rate(self, t: float) -> float:
        """Factor on the learning rates."""
        if t < self.warmup:
            return (t + 1e-3) / (self.warmup + 1e-3)
        return 0.5 * (1 + math.cos(math.pi * (t - self.warmup) / (1 - self.warmup)))
