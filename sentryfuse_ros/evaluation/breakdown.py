"""Where the errors are: by class, by the condition of the recording, and by the model's confidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..masks import mask_to_bits
from .accuracy import calibration_error, mean
from .predictions import Predictions
from .records import ConditionResult, Confusion, Reliability, ReliabilityBin

BINS = 15  # of confidence, as in the calibration error
MISSING_NAMES = ("all sensors", "one missing", "two missing", "three missing")


def confusion(predictions: Predictions, place: int, level: int = 0) -> Confusion:
    """The confusion of the mask at ``place``; windows without a prediction are counted apart and not in recall and precision."""
    size = len(predictions.classes)
    labels, predicted = predictions.labels, predictions.predicted[place, level]
    judged = predicted >= 0
    counts = np.bincount(labels[judged] * size + predicted[judged], minlength=size * size).reshape(size, size)
    return Confusion(
        mask=mask_to_bits(predictions.masks[place]),
        live=predictions.live(place),
        ratio=predictions.levels[level],
        counts=counts.tolist(),
        without_prediction=np.bincount(labels[~judged], minlength=size).tolist(),
        recall=_shares(counts.diagonal(), counts.sum(1)),
        precision=_shares(counts.diagonal(), counts.sum(0)),
    )


def confusions(predictions: Predictions) -> list[Confusion]:
    """Two confusions, nothing pruned: with all sensors, and without the sensor whose loss costs the most accuracy."""
    judged, correct = predictions.judged, predictions.correct
    one_missing = [i for i in predictions.masks_missing(1) if judged[i].any()]
    worst = sorted(one_missing, key=lambda i: correct[i, 0, judged[i]].mean())[:1]
    return [confusion(predictions, i) for i in (0, *worst)]


def _shares(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [round(int(p) / int(w), 4) if w else None for p, w in zip(part, whole)]


def condition_rows(predictions: Predictions, conditions: Mapping[str, np.ndarray]) -> list[ConditionResult]:
    """Accuracy by condition, nothing pruned: with all sensors, without each one, and with each one alone.

    ``conditions``: name -> bool (n,). The first result is of all windows; if the data set has conditions, the second is of the
    windows without any. Accuracy is of the windows that can be judged under the mask.
    """
    count = len(predictions.labels)
    chosen = {"all": np.ones(count, bool)}
    if conditions:
        chosen["undisturbed"] = ~np.any(list(conditions.values()), axis=0)
        chosen.update(conditions)
    sensors = range(len(predictions.modalities))
    one_missing = [tuple(i != gone for i in sensors) for gone in sensors] if len(sensors) > 2 else []
    single = [tuple(i == left for i in sensors) for left in sensors]
    places = [predictions.masks.index(mask) for mask in dict.fromkeys([predictions.masks[0], *one_missing, *single])]
    correct, judged = predictions.correct, predictions.judged
    return [
        ConditionResult(
            condition=name,
            windows=int(where.sum()),
            recordings=len(np.unique(predictions.recording[where])),
            accuracy={mask_to_bits(predictions.masks[i]): mean(correct[i, 0, where & judged[i]]) for i in places},
        )
        for name, where in chosen.items()
    ]


def reliability(predictions: Predictions) -> list[Reliability]:
    """Confidence against accuracy, nothing pruned, pooled over the masks with equally many sensors missing."""
    out = []
    for missing in range(len(predictions.modalities)):
        places = predictions.masks_missing(missing)
        judged = predictions.judged[places]
        confidence, correct = predictions.confidence[places, 0][judged], predictions.correct[places, 0][judged]
        bin_of = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
        chosen = [bin_of == b for b in range(BINS) if (bin_of == b).any()]
        single = missing == len(predictions.modalities) - 1 > 0
        out.append(
            Reliability(
                name="single sensor" if single else (*MISSING_NAMES, f"{missing} missing")[min(missing, len(MISSING_NAMES))],
                missing=missing,
                masks=tuple(mask_to_bits(predictions.masks[i]) for i in places),
                judged=len(correct),
                accuracy=mean(correct),
                confidence=mean(confidence),
                ece=round(calibration_error(confidence, correct), 4) if len(correct) else None,
                bins=tuple(
                    ReliabilityBin(
                        confidence=round(float(confidence[c].mean()), 4),
                        accuracy=round(float(correct[c].mean()), 4),
                        count=int(c.sum()),
                    )
                    for c in chosen
                ),
            )
        )
    return out
