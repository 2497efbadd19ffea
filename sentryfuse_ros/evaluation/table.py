"""The rows: accuracy with its uncertainty, calibration and confidence per mask and pruning ratio."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..training.calibration import expected_calibration_error
from ..training.evaluation import mask_bits
from .predictions import Predictions

DRAWS = 2000  # bootstrap samples: an end of the interval is then good to a tenth of the interval's width


def accuracy_rows(predictions: Predictions, seed: int = 0) -> list[dict[str, Any]]:
    """One row per mask and level, the fullest mask first: mask, live, ratio, accuracy, ci95, ece, confidence."""
    right, intervals = predictions.right, accuracy_intervals(predictions.right, predictions.recording, seed)
    rows = []
    for i, mask in enumerate(predictions.masks):
        for j, level in enumerate(predictions.levels):
            interval = intervals[i, j]
            rows.append({
                "mask": mask_bits(mask), "live": predictions.live(i), "ratio": level,
                "accuracy": round(float(right[i, j].mean()), 4),
                "ci95": None if np.isnan(interval).any() else [round(float(end), 4) for end in interval],
                "ece": round(calibration_error(predictions.confidence[i, j], right[i, j]), 4),
                "confidence": round(float(predictions.confidence[i, j].mean()), 4),
            })
    return rows


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error from the confidence (n,) and whether the prediction was right (n,)."""
    return expected_calibration_error(confidence[:, None], np.where(right, 0, 1))


def accuracy_intervals(right: np.ndarray, recording: np.ndarray, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """95 % intervals (..., 2) of the mean of right (..., n) by percentile bootstrap over recordings (n,); NaN if only one.

    Whole recordings are drawn, since windows of one are alike (cluster bootstrap: Davison & Hinkley 1997, section 3.8).
    """
    _, group = np.unique(recording, return_inverse=True)
    groups = int(group.max()) + 1
    if groups < 2:
        return np.full((*right.shape[:-1], 2), np.nan)
    flat = right.reshape(-1, right.shape[-1])
    hits = np.stack([np.bincount(group, row, groups) for row in flat], 1)                          # (groups, rows)
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), draws)    # (draws, groups)
    accuracy = (times @ hits) / (times @ np.bincount(group, minlength=groups))[:, None]            # (draws, rows)
    return np.percentile(accuracy, (2.5, 97.5), axis=0).T.reshape(*right.shape[:-1], 2)
