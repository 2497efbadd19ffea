"""Rows of a sensor -> what the model takes, shared by robot and training so that both see the same.

Numpy only. ``audio`` and ``lidar`` are imported when first used.
"""

from __future__ import annotations

from importlib import import_module

import numpy as np

from ..errors import ParameterError
from .spec import CAMERA_ENCODINGS, KINDS, ModalitySpec

__all__ = ["CAMERA_ENCODINGS", "KINDS", "ModalitySpec", "empty_input", "model_input"]


def model_input(spec: ModalitySpec, row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int) -> np.ndarray:
    """Rows at stamps (k,) [ns], sorted, seen in the window that ends at ``end_ns`` -> ``spec.shape`` float32.

    Raises ParameterError for a kind this package has no input for.
    """
    if spec.kind not in KINDS:
        raise ParameterError(f"modality {spec.name!r} kind", spec.kind, "one of " + ", ".join(KINDS))
    return import_module(f".{spec.kind}", __name__).model_input(row_stamp_ns, rows, end_ns, spec)


def empty_input(spec: ModalitySpec) -> np.ndarray:
    """The model input of a window without data: zeros of ``spec.shape``."""
    return np.zeros(spec.shape, np.float32)
