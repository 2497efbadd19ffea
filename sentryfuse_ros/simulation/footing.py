"""What a wheel stands on: the relief as a round wheel feels it, and the spring, damper and friction of each patch.

MuJoCo computes one contact per triangle of a height field, so that even on flat ground a wheel rattles at the pitch of
the grid. Here, each wheel has one contact instead, with a plane that follows the height and slope of the relief below
it. Rays still hit the height fields.
"""

from __future__ import annotations

import cv2
import numpy as np

from .ground import Ground
from .relief import CELL_M
from .worlds import COLUMNS, PATCH_M, ROWS, World

WHEEL_RADIUS_M = 0.11
TYRE_STIFFNESS_KN_M = 45.0  # a soft tyre of solid rubber
TYRE_DAMPING_RATIO = 0.15
IMPEDANCE = 0.3  # of MuJoCo's contacts; small, so that they act as springs and not as hard stops
UPSAMPLING = 2  # nodes of the felt relief per node of the height field


def wheel_stiffness(ground: Ground) -> float:
    """Stiffness of tyre and ground in series [N/m]."""
    return 1e3 / (1 / TYRE_STIFFNESS_KN_M + 1 / ground.stiffness_kn_m)


def contact_parameters(ground: Ground, mass_kg: float) -> tuple[float, float]:
    """MuJoCo's solref (time constant [s], damping ratio) of a patch.

    A contact is a spring under a quarter of the robot, with omega = sqrt(4 k / m). MuJoCo scales the acceleration of the
    spring by the impedance d. With a constant small d, the spring is recovered by d k' = omega^2 and d b' = 2 damping
    omega, that is, by the time constant 1 / (damping omega) and the damping ratio damping / sqrt(d). Rolling resistance is
    a torque on the wheel (`Robot.advance`) instead of a part of the contact, because MuJoCo's friction cones chatter at
    values as large as those of sand.
    """
    stiffness = wheel_stiffness(ground)
    # Tyre and ground damp in proportion to their shares of the deflection.
    ground_share = stiffness / 1e3 / ground.stiffness_kn_m
    damping = TYRE_DAMPING_RATIO * (1 - ground_share) + ground.damping_ratio * ground_share + 0.1
    omega = np.sqrt(4 * stiffness / mass_kg)
    return float(1 / (damping * omega)), float(damping / np.sqrt(IMPEDANCE))


class Footing:
    """Height and slope under the wheels, and the contact parameters of each patch."""

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
        self._height = cv2.resize(felt, None, fx=UPSAMPLING, fy=UPSAMPLING, interpolation=cv2.INTER_CUBIC).astype(np.float64)
        self._per_m = UPSAMPLING / CELL_M

    def under(self, x_m: np.ndarray, y_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Height [m] and slopes along x and y at each position (n,), by bilinear interpolation."""
        # cv2.resize aligns pixel centres: it moved node i to (i + 0.5) UPSAMPLING - 0.5.
        column, row = x_m * self._per_m + (UPSAMPLING - 1) / 2, y_m * self._per_m + (UPSAMPLING - 1) / 2
        c = np.minimum(np.maximum(column.astype(int), 0), self._height.shape[1] - 2)
        r = np.minimum(np.maximum(row.astype(int), 0), self._height.shape[0] - 2)
        u, v = column - c, row - r
        h = self._height
        a, b, d, e = h[r, c], h[r, c + 1], h[r + 1, c], h[r + 1, c + 1]
        left, right = a + v * (d - a), b + v * (e - b)
        low, high = a + u * (b - a), d + u * (e - d)
        return left + u * (right - left), (right - left) * self._per_m, (high - low) * self._per_m


def _felt(height_m: np.ndarray) -> np.ndarray:
    """Height of the lowest point of a sphere that rests on the relief: the relief dilated by the sphere."""
    reach = int(0.5 * WHEEL_RADIUS_M / CELL_M)
    felt = np.full_like(height_m, -np.inf)
    padded = np.pad(height_m, reach, mode="edge")
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            drop = WHEEL_RADIUS_M - np.sqrt(max(WHEEL_RADIUS_M**2 - (dx * dx + dy * dy) * CELL_M**2, 0))
            shifted = padded[reach + dy : reach + dy + height_m.shape[0], reach + dx : reach + dx + height_m.shape[1]]
            np.maximum(felt, shifted - drop, out=felt)
    return felt
