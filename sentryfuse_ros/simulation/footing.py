"""What a wheel stands on: the relief as a round wheel feels it, and each patch's spring, damper and friction.

MuJoCo meets a height field with one contact per triangle prism; a wheel rolling over flat ground then rattles at the
grid's pitch. So each wheel has one contact, with a plane that follows the height and slope of the relief below it. Rays
still hit the height fields.
"""

from __future__ import annotations

import cv2
import numpy as np

from .ground import Ground
from .relief import CELL_M
from .worlds import COLUMNS, PATCH_M, ROWS, World

WHEEL_RADIUS_M = 0.11
TYRE_STIFFNESS_KN_M = 45.0  # soft solid rubber
TYRE_DAMPING_RATIO = 0.15
IMPEDANCE = 0.3  # of MuJoCo's contacts; small, so that they are springs and not stops
FINER = 2  # nodes of the felt relief per node of the height field


def wheel_stiffness(ground: Ground) -> float:
    """Tyre and ground in series [N/m]."""
    return 1e3 / (1 / TYRE_STIFFNESS_KN_M + 1 / ground.stiffness_kn_m)


def contact_parameters(ground: Ground, mass_kg: float) -> tuple[float, float]:
    """MuJoCo's solref (time constant [s], damping ratio) of a patch.

    A contact is a spring under a quarter of the robot, omega = sqrt(4 k / m). MuJoCo blends the spring's acceleration in
    by the impedance d: with a constant small d, d k' = omega^2 and d b' = 2 damping omega give the spring back, which
    means the time constant 1 / (damping omega) and the damping ratio damping / sqrt(d). Rolling resistance is no part of
    the contact but a torque on the wheel (`Drive`): as contact friction as large as sand's, MuJoCo's cones chatter.
    """
    stiffness = wheel_stiffness(ground)
    # The damping of each in proportion to how much of the deflection is its own.
    own = stiffness / 1e3 / ground.stiffness_kn_m
    damping = TYRE_DAMPING_RATIO * (1 - own) + ground.damping_ratio * own + 0.1
    omega = np.sqrt(4 * stiffness / mass_kg)
    return float(1 / (damping * omega)), float(damping / np.sqrt(IMPEDANCE))


class Footing:
    """Height and slope under wheels, and the contact parameters there."""

    def __init__(self, world: World, mass_kg: float):
        self._world = world
        self.solref = np.array([contact_parameters(p.ground, mass_kg) for p in world.patches])  # (patches, 2)
        self.friction = np.array([p.ground.friction for p in world.patches])
        self.rolling_resistance = np.array([p.ground.rolling_resistance for p in world.patches])
        cells = round(PATCH_M / CELL_M)
        whole = np.zeros((ROWS * cells + 1, COLUMNS * cells + 1), np.float32)
        for index, patch in enumerate(world.patches):
            row, column = index // COLUMNS * cells, index % COLUMNS * cells
            whole[row : row + cells + 1, column : column + cells + 1] = patch.height_m
        felt = _felt(whole)
        self._height = cv2.resize(felt, None, fx=FINER, fy=FINER, interpolation=cv2.INTER_CUBIC).astype(np.float64)
        self._per_m = FINER / CELL_M

    def under(self, x_m: np.ndarray, y_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Height [m] and slopes along x and y at each position, bilinear."""
        # Pixel centres: resizing moved node i to (i + 0.5) FINER - 0.5.
        column, row = x_m * self._per_m + (FINER - 1) / 2, y_m * self._per_m + (FINER - 1) / 2
        c = np.minimum(np.maximum(column.astype(int), 0), self._height.shape[1] - 2)
        r = np.minimum(np.maximum(row.astype(int), 0), self._height.shape[0] - 2)
        u, v = column - c, row - r
        h = self._height
        a, b, d, e = h[r, c], h[r, c + 1], h[r + 1, c], h[r + 1, c + 1]
        left, right = a + v * (d - a), b + v * (e - b)
        low, high = a + u * (b - a), d + u * (e - d)
        return left + u * (right - left), (right - left) * self._per_m, (high - low) * self._per_m


def _felt(height_m: np.ndarray) -> np.ndarray:
    """Height of a sphere's lowest point when it rests on the relief: the relief dilated by the sphere."""
    reach = int(0.5 * WHEEL_RADIUS_M / CELL_M)
    felt = np.full_like(height_m, -np.inf)
    padded = np.pad(height_m, reach, mode="edge")
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            drop = WHEEL_RADIUS_M - np.sqrt(max(WHEEL_RADIUS_M**2 - (dx * dx + dy * dy) * CELL_M**2, 0))
            shifted = padded[reach + dy : reach + dy + height_m.shape[0], reach + dx : reach + dx + height_m.shape[1]]
            np.maximum(felt, shifted - drop, out=felt)
    return felt
