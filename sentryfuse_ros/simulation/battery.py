"""The battery, discharged by motors, computer and sensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .robot import TORQUE, WHEEL_SPEED

IDLE_W = 18.0  # computer, sensors, radio
EFFICIENCY = 0.65  # of motor and gear together
COPPER_W_PER_NM2 = 0.35  # heat in the windings
CELLS, CELL_OHM = 7, 0.02


@dataclass
class Battery:
    """A lithium pack of ``capacity_wh``; ``fraction`` is its state of charge, 0..1."""

    capacity_wh: float
    fraction: float
    power_w: float = IDLE_W

    def draw(self, rows: np.ndarray, seconds: float) -> None:
        """Discharge by the work in rows of the physics that last ``seconds``; braking recovers nothing."""
        torque, speed = rows[:, TORQUE], rows[:, WHEEL_SPEED]
        mechanical = np.maximum(torque * speed, 0).sum(axis=1) / EFFICIENCY
        self.power_w = float(IDLE_W + (mechanical + COPPER_W_PER_NM2 * (torque**2).sum(axis=1)).mean())
        self.fraction = max(0.0, self.fraction - self.power_w * seconds / 3600 / self.capacity_wh)

    @property
    def current_a(self) -> float:
        """Current drawn, positive when discharging."""
        return self.power_w / (CELLS * self._open_cell_v)

    @property
    def voltage_v(self) -> float:
        """Voltage under load: the open-circuit voltage of lithium cells less the drop over their resistance."""
        return CELLS * (self._open_cell_v - CELL_OHM * self.current_a)

    @property
    def _open_cell_v(self) -> float:
        full, empty = float(np.exp(-20 * (1 - self.fraction))), float(np.exp(-25 * self.fraction))
        return 3.3 + 0.75 * self.fraction + 0.15 * full - 0.3 * empty
