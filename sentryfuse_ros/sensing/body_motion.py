"""How fast the body of a camera turns, by an IMU that is fixed to it: for a stream that must know whether its camera moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..nanoseconds import NS_PER_S

MEAN_S = 0.15  # the rate of turn is the mean over so long: the noise of single samples is not motion
KEPT_S = 1.0


class BodyMotion:
    """The newest samples of an IMU. One thread notes and asks.

    columns: of its rows, that are rates of turn (`SensorKind.turn_columns`).
    """

    def __init__(self, columns: Sequence[int]):
        self._columns = list(columns)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._stamp_ns, self._gyro = np.empty(0, np.int64), np.empty((0, len(self._columns)), np.float32)

    def note(self, stamp_ns: np.ndarray, rows: np.ndarray) -> None:
        """Take rows (k, C) of the sensor's decoder at stamps (k,) [ns]."""
        if not len(stamp_ns):
            return
        stamps, gyro = np.append(self._stamp_ns, stamp_ns), np.concatenate([self._gyro, rows[:, self._columns]])
        kept = stamps > stamps.max() - KEPT_S * NS_PER_S
        self._stamp_ns, self._gyro = stamps[kept], gyro[kept]

    def turn_rad_s(self, end_ns: int) -> float | None:
        """Rate of turn about any axis at a time [rad/s]; None if nothing was measured then."""
        near = (self._stamp_ns > end_ns - MEAN_S * NS_PER_S) & (self._stamp_ns <= end_ns + MEAN_S * NS_PER_S)
        return float(np.linalg.norm(self._gyro[near].mean(0))) if near.any() else None
