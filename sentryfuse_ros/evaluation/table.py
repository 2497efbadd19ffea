"""The rows: accuracy with its uncertainty, calibration and confidence per mask and pruning ratio."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..masks import mask_to_bits
from ..training.calibration import expected_calibration_error
from .predictions import Predictions

DRAWS = 2000  # bootstrap samples: an end of the interval is then good to a tenth of the interval's width


def accuracy_rows(predictions: Predictions, seed: int = 0) -> list[dict[str, Any]]:
    """One row per mask and level, the fullest mask first: mask, live, ratio, judged, accuracy, ci95, ece, confidence.

    Only windows in which one of the mask's sensors had data are judged; judged is their number, and all else None at 0.
    """
    rows, all_right, said = [], predictions.right, predictions.said
    for i, mask in enumerate(predictions.masks):
        all_levels = all_right[i][:, said[i]]
        intervals = accuracy_intervals(all_levels, predictions.recording[said[i]], seed)
        for right, sure, interval, level in zip(all_levels, predictions.confidence[i][:, said[i]], intervals, predictions.levels):
            rows.append(
                {
                    "mask": mask_to_bits(mask),
                    "live": predictions.live(i),
                    "ratio": level,
                    "judged": len(right),
                    "accuracy": mean(right),
                    "ci95": None if np.isnan(interval).any() else [round(float(end), 4) for end in interval],
                    "ece": round(calibration_error(sure, right), 4) if len(right) else None,
                    "confidence": mean(sure),
                }
            )
    return rows


def mean(values: np.ndarray) -> float | None:
    """To four places; None of nothing."""
    return round(float(values.mean()), 4) if len(values) else None


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error from the confidence (n,) and whether the prediction was right (n,)."""
    return expected_calibration_error(confidence[:, None], np.where(right, 0, 1))


def accuracy_intervals(right: np.ndarray, recording: np.ndarray, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """95 % intervals (..., 2) of the mean of right (..., n) by percentile bootstrap over recordings (n,); NaN below two.

    Whole recordings are drawn, since windows of one are alike (cluster bootstrap: Davison & Hinkley 1997, section 3.8).
    """
    names, group = np.unique(recording, return_inverse=True)
    groups = len(names)
    if groups < 2:
        return np.full((*right.shape[:-1], 2), np.nan)
    flat = right.reshape(-1, right.shape[-1])
    hits = np.stack([np.bincount(group, row, groups) for row in flat], 1)  # (groups, rows)
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), draws)  # (draws, groups)
    accuracy = (times @ hits) / (times @ np.bincount(group, minlength=groups))[:, None]  # (draws, rows)
    return np.percentile(accuracy, (2.5, 97.5), axis=0).T.reshape(*right.shape[:-1], 2)
