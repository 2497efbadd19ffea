"""From the rows of a sensor to the model's input. Robot and training call the same functions, so both see the same numbers.

Everything here is numpy, apart from the resizing of images; the file of a kind is imported when it is first used.
"""

from __future__ import annotations

import numpy as np

from ..sensor_kinds import sensor_kind
from .spec import ModalitySpec

__all__ = ["ModalitySpec", "empty_input", "model_input"]


def model_input(spec: ModalitySpec, row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int) -> np.ndarray:
    """The window that ends at ``end_ns`` of rows (k, ...) at sorted stamps (k,) [ns] -> ``spec.shape`` float32."""
    return sensor_kind(spec.kind).build_input(row_stamp_ns, rows, end_ns, spec)


def empty_input(spec: ModalitySpec) -> np.ndarray:
    """The model input of a window without data: zeros of ``spec.shape``."""
    return np.zeros(spec.shape, np.float32)
