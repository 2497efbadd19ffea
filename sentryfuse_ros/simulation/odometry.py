"""Odometry from wheel encoders and gyro. It drifts when the wheels slip, like that of a real robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .footing import WHEEL_RADIUS_M
from .robot import GYRO, STEP_S, WHEEL_SPEED


@dataclass
class WheelOdometry:
    """Pose relative to where it was switched on [m, rad], and the twist of the last update [m/s, rad/s]."""

    x_m: float = 0.0
    y_m: float = 0.0
    yaw_rad: float = 0.0
    speed_mps: float = 0.0
    turn_rad_s: float = 0.0

    def update(self, rows: np.ndarray) -> None:
        """Advance by consecutive rows of the physics."""
        speed = rows[:, WHEEL_SPEED].mean(axis=1) * WHEEL_RADIUS_M
        turn = rows[:, GYRO][:, 2]
        yaw = self.yaw_rad + np.cumsum(turn) * STEP_S
        self.x_m += float((speed * np.cos(yaw)).sum() * STEP_S)
        self.y_m += float((speed * np.sin(yaw)).sum() * STEP_S)
        self.yaw_rad = float((yaw[-1] + np.pi) % (2 * np.pi) - np.pi)
        self.speed_mps, self.turn_rad_s = float(speed.mean()), float(turn.mean())
