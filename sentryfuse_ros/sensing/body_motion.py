"""How fast the body of a camera turns and drives, by an IMU or odometry: for a stream that must know whether its camera moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..nanoseconds import NS_PER_S

MEAN_S = 0.15  # the rates are means over so long: the noise of single samples is not motion
KEPT_S = 1.0
MOST_KEPT = 4096  # samples: stamps that stand still never become older than `KEPT_S`


class BodyMotion:
    """The newest samples of a sensor that measures its own motion. One thread notes and asks.

    turn_columns, speed_columns: of its rows, that are rates of turn [rad/s] and speeds [m/s] (`SensorKind.motion_columns`).
    """

    def __init__(self, turn_columns: Sequence[int], speed_columns: Sequence[int] = ()):
        self._turn, self._speed = list(turn_columns), list(speed_columns)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._stamp_ns, self._rows = np.empty(0, np.int64), np.empty((0, len(self._turn) + len(self._speed)), np.float32)

    def note(self, stamp_ns: np.ndarray, rows: np.ndarray) -> None:
        """Take rows (k, C) of the sensor's decoder at stamps (k,) [ns]."""
        if not len(stamp_ns):
            return
        stamps, measured = np.append(self._stamp_ns, stamp_ns), np.concatenate([self._rows, rows[:, self._turn + self._speed]])
        kept = stamps > stamps.max() - KEPT_S * NS_PER_S
        self._stamp_ns, self._rows = stamps[kept][-MOST_KEPT:], measured[kept][-MOST_KEPT:]

    def turn_rad_s(self, end_ns: int) -> float | None:
        """Rate of turn about any axis at a time [rad/s]; None if it was not measured then."""
        return self._mean(end_ns, slice(0, len(self._turn)))

    def speed_m_s(self, end_ns: int) -> float | None:
        """Speed in any direction at a time [m/s]; None if it was not measured then."""
        return self._mean(end_ns, slice(len(self._turn), None))

    def _mean(self, end_ns: int, columns: slice) -> float | None:
        near = (self._stamp_ns > end_ns - MEAN_S * NS_PER_S) & (self._stamp_ns <= end_ns + MEAN_S * NS_PER_S)
        rows = self._rows[near, columns]
        return float(np.linalg.norm(rows.mean(0))) if rows.size else None
