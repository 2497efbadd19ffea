"""Where the errors are: by class, by circumstance of the recording, and by how sure the model was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..masks import mask_to_bits
from .predictions import Predictions
from .table import calibration_error, mean

BINS = 15  # of confidence, as in the calibration error
MISSING_NAMES = ("all sensors", "one missing", "two missing", "three missing")


def confusion(predictions: Predictions, place: int, level: int = 0) -> dict[str, Any]:
    """Counts (true class, predicted class) under one mask, windows without a prediction apart; recall and precision by
    class of the windows with one, None where there is nothing to divide by."""
    size = len(predictions.classes)
    labels, predicted = predictions.labels, predictions.predicted[place, level]
    said = predicted >= 0
    counts = np.bincount(labels[said] * size + predicted[said], minlength=size * size).reshape(size, size)
    return {
        "mask": mask_to_bits(predictions.masks[place]),
        "live": predictions.live(place),
        "ratio": predictions.levels[level],
        "counts": counts.tolist(),
        "without_prediction": np.bincount(labels[~said], minlength=size).tolist(),
        "recall": _shares(counts.diagonal(), counts.sum(1)),
        "precision": _shares(counts.diagonal(), counts.sum(0)),
    }


def confusions(predictions: Predictions) -> list[dict[str, Any]]:
    """With all sensors, and with the one missing whose loss costs most; nothing pruned."""
    said, right = predictions.said, predictions.right
    one_missing = [i for i in predictions.masks_missing(1) if said[i].any()]
    worst = sorted(one_missing, key=lambda i: right[i, 0, said[i]].mean())[:1]
    return [confusion(predictions, i) for i in (0, *worst)]


def _shares(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [round(int(p) / int(w), 4) if w else None for p, w in zip(part, whole)]


def condition_rows(predictions: Predictions, conditions: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Accuracy at r = 0 per circumstance: of all sensors, of each one missing, of each single one, by mask bits.

    ``conditions``: name -> bool (n,). First come all examples and, where the set knows conditions, those under none.
    Accuracy is of the windows that the mask can judge, None where there are none.
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
    rows, right, said = [], predictions.right, predictions.said
    for name, where in chosen.items():
        rows.append(
            {
                "condition": name,
                "windows": int(where.sum()),
                "recordings": len(np.unique(predictions.recording[where])),
                "accuracy": {mask_to_bits(predictions.masks[i]): mean(right[i, 0, where & said[i]]) for i in places},
            }
        )
    return rows


def reliability(predictions: Predictions) -> list[dict[str, Any]]:
    """Confidence against accuracy at r = 0, pooled over the masks with the same number of sensors missing.

    judged: the predictions pooled, None in place of their means where there are none. bins: those of the
    confidence that hold anything, each with mean confidence, accuracy and count of predictions.
    """
    out = []
    for missing in range(len(predictions.modalities)):
        places = predictions.masks_missing(missing)
        said = predictions.said[places]
        confidence, right = predictions.confidence[places, 0][said], predictions.right[places, 0][said]
        bin_of = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
        chosen = [bin_of == b for b in range(BINS) if (bin_of == b).any()]
        single = missing == len(predictions.modalities) - 1 > 0
        out.append(
            {
                "name": "single sensor" if single else (*MISSING_NAMES, f"{missing} missing")[min(missing, len(MISSING_NAMES))],
                "missing": missing,
                "masks": [mask_to_bits(predictions.masks[i]) for i in places],
                "judged": len(right),
                "accuracy": mean(right),
                "confidence": mean(confidence),
                "ece": round(calibration_error(confidence, right), 4) if len(right) else None,
                "bins": [
                    {
                        "confidence": round(float(confidence[c].mean()), 4),
                        "accuracy": round(float(right[c].mean()), 4),
                        "count": int(c.sum()),
                    }
                    for c in chosen
                ],
            }
        )
    return out
