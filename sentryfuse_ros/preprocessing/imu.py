"""IMU rows -> model input: a regular grid of gyro xyz [rad/s] and accel xyz [m/s^2].

Options are those of `series`.
"""

from __future__ import annotations

import numpy as np

from . import series
from .spec import ModalitySpec


def model_input(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec) -> np.ndarray:
    """Rows (k, 6) gyro xyz [rad/s], accel xyz [m/s^2] at stamps (k,) [ns], sorted -> (T, 6) float32 normalised.

    The last cell ends at ``end_ns``; cells without data are zero (see `series`).
    """
    return series.model_input(row_stamp_ns, rows, end_ns, spec)
