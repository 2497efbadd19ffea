"""Where the robot drives: from a patch to the neighbouring one whose class it has visited least."""

from __future__ import annotations

import numpy as np

from .robot import Pose
from .worlds import COLUMNS, PATCH_M, ROWS, World

REACHED_M = 0.5
MAX_TURN_RAD_S = 1.2


class Route:
    """Chooses waypoints and steers towards them."""

    def __init__(self, world: World, speed_mps: float, rng: np.random.Generator):
        self.world, self.speed_mps, self.rng = world, speed_mps, rng
        self.visits = dict.fromkeys((p.name for p in world.patches), 0)
        self.patch = int(rng.integers(COLUMNS * ROWS))
        self.previous = -1
        self.start = self._waypoint(self.patch)
        self.visits[world.patches[self.patch].name] += 1
        self.target = self.start
        self._choose_next()
        ahead = self.target - self.start
        self.start_yaw_rad = float(np.arctan2(ahead[1], ahead[0]))
        self._speed = speed_mps

    def command(self, pose: Pose) -> tuple[float, float]:
        """Forward speed [m/s] and turn rate [rad/s] at the pose of the robot."""
        ahead = self.target - pose.position_m[:2]
        if np.hypot(*ahead) < REACHED_M:
            self._choose_next()
            ahead = self.target - pose.position_m[:2]
        heading = np.arctan2(pose.rotation[1, 0], pose.rotation[0, 0])
        error = (np.arctan2(ahead[1], ahead[0]) - heading + np.pi) % (2 * np.pi) - np.pi
        # The speed wanders by a tenth, as under a human driver.
        self._speed += 0.02 * (self.speed_mps - self._speed) + 0.02 * self.speed_mps * self.rng.standard_normal()
        speed = max(self._speed, 0.1) * max(0.25, np.cos(error))
        return float(speed), float(np.clip(1.6 * error, -MAX_TURN_RAD_S, MAX_TURN_RAD_S))

    def _waypoint(self, patch: int) -> np.ndarray:
        """A random point near the middle of a patch, so that no path between two neighbours touches a corner."""
        centre = np.array([self.world.patches[patch].x_m, self.world.patches[patch].y_m])
        return centre + self.rng.uniform(-0.25, 0.25, 2) * PATCH_M

    def _choose_next(self) -> None:
        row, column = divmod(self.patch, COLUMNS)
        near = [
            r * COLUMNS + c
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
            if 0 <= r < ROWS and 0 <= c < COLUMNS
        ]
        onward = [p for p in near if p != self.previous] or near
        fewest = min(self.visits[self.world.patches[p].name] for p in onward)
        best = [p for p in onward if self.visits[self.world.patches[p].name] == fewest]
        self.previous, self.patch = self.patch, int(best[self.rng.integers(len(best))])
        self.visits[self.world.patches[self.patch].name] += 1
        self.target = self._waypoint(self.patch)
