"""Accuracy with its uncertainty, calibration error and mean confidence of every mask and pruning ratio."""

from __future__ import annotations

import numpy as np

from ..masks import mask_to_bits
from ..training.calibration import expected_calibration_error
from .predictions import Predictions
from .records import Interval95, MaskResult

DRAWS = 2000  # bootstrap samples; each end of an interval is then accurate to a tenth of the interval's width


def accuracy_rows(predictions: Predictions, seed: int = 0) -> list[MaskResult]:
    """One result per mask and ratio level, without the cost; the mask with the most sensors comes first.

    Only windows in which one of the mask's sensors had data are judged.
    """
    rows, correct, judged = [], predictions.correct, predictions.judged
    for i, mask in enumerate(predictions.masks):
        of_mask = correct[i][:, judged[i]]
        intervals = accuracy_intervals(of_mask, predictions.recording[judged[i]], seed)
        confidences = predictions.confidence[i][:, judged[i]]
        for of_level, confidence, interval, level in zip(of_mask, confidences, intervals, predictions.levels):
            rows.append(
                MaskResult(
                    mask=mask_to_bits(mask),
                    live=predictions.live(i),
                    ratio=level,
                    judged=len(of_level),
                    accuracy=mean(of_level),
                    ci95=_rounded(interval),
                    ece=round(calibration_error(confidence, of_level), 4) if len(of_level) else None,
                    confidence=mean(confidence),
                )
            )
    return rows


def accuracies(predictions: Predictions) -> list[float | None]:
    """The accuracy of every mask and ratio level, in the order of `accuracy_rows`."""
    of_masks = (of_mask[:, here] for of_mask, here in zip(predictions.correct, predictions.judged))
    return [mean(of_level) for of_mask in of_masks for of_level in of_mask]


def _rounded(interval: np.ndarray) -> Interval95 | None:
    """To four places; None for NaN."""
    return None if np.isnan(interval).any() else (round(float(interval[0]), 4), round(float(interval[1]), 4))


def mean(values: np.ndarray) -> float | None:
    """The mean to four places; None of nothing."""
    return round(float(values.mean()), 4) if len(values) else None


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error from the confidence (n,) and whether the prediction was correct (n,)."""
    return expected_calibration_error(confidence[:, None], np.where(correct, 0, 1))


def accuracy_intervals(correct: np.ndarray, recording: np.ndarray, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """95 % intervals (..., 2) of the mean of correct (..., n) by percentile bootstrap over recordings (n,).

    Whole recordings are drawn, because windows of one recording are alike (cluster bootstrap: Davison & Hinkley 1997,
    section 3.8). With fewer than two recordings, the result is NaN.
    """
    names, group = np.unique(recording, return_inverse=True)
    groups = len(names)
    if groups < 2:
        return np.full((*correct.shape[:-1], 2), np.nan)
    flat = correct.reshape(-1, correct.shape[-1])
    hits = np.stack([np.bincount(group, row, groups) for row in flat], 1)  # (groups, rows)
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), draws)  # (draws, groups)
    accuracy = (times @ hits) / (times @ np.bincount(group, minlength=groups))[:, None]  # (draws, rows)
    return np.percentile(accuracy, (2.5, 97.5), axis=0).T.reshape(*correct.shape[:-1], 2)
