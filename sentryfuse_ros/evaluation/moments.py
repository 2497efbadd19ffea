"""Accuracy at all moments, as a robot meets them, beside that of the windows throughout which one label held."""

from __future__ import annotations

import numpy as np

from ..bags.labels import AFTER_CHANGE_S
from .accuracy import mean
from .predictions import Predictions
from .records import Moments, SinceChange


def moments(predictions: Predictions, steady: np.ndarray, since_change_s: np.ndarray) -> Moments:
    """With all sensors and nothing pruned; steady (n,) bool and since_change_s (n,), NaN without a change, as in `WindowSet`."""
    judged, correct = predictions.judged[0], predictions.correct[0, 0]
    after = []
    for from_s, to_s in zip(AFTER_CHANGE_S, (*AFTER_CHANGE_S[1:], None)):
        where = judged & (since_change_s >= from_s) & (since_change_s < (np.inf if to_s is None else to_s))
        after.append(SinceChange(from_s, to_s, int(where.sum()), mean(correct[where])))
    return Moments(
        windows=int(judged.sum()),
        accuracy=mean(correct[judged]),
        steady_windows=int((judged & steady).sum()),
        steady_accuracy=mean(correct[judged & steady]),
        since_change=tuple(after),
    )
