"""Shadows of people who walk past before a robot: what a camera that stands sees change."""

from __future__ import annotations

import numpy as np

PERIOD_S = 4.0  # one person in so many seconds
RADIUS_M, EDGE_M = 0.3, 0.1  # of a shadow, and over how much of it the light fades
DEEPEST = 0.6  # share of the light that the darkest shadow takes
FROM_M = 2.0  # to the side, where a person comes from


class Shadows:
    """One person after another, each on a path of its own across the direction of travel."""

    def __init__(self, level: float, rng: np.random.Generator):
        self._deepest, self._seed = DEEPEST * level, int(rng.integers(2**31))

    def light(self, point_m: np.ndarray, time_s: float) -> np.ndarray:
        """Share of the light that reaches points (n, 3) in the frame of the robot (n,)."""
        passing, since_s = divmod(time_s, PERIOD_S)
        rng = np.random.default_rng((self._seed, int(passing)))
        ahead_m, speed_mps, side = rng.uniform(0.3, 0.9), rng.uniform(0.8, 1.4), rng.choice([-1.0, 1.0])
        across_m = side * (FROM_M - speed_mps * since_s)
        away_m = np.hypot(point_m[:, 0] - ahead_m, point_m[:, 1] - across_m)
        return 1 - self._deepest * np.clip((RADIUS_M - away_m) / EDGE_M, 0, 1)
