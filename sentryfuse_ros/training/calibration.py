"""Temperature scaling (Guo et al., ICML 2017), one temperature per mask and ratio level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

# A temperature beyond these limits shows that the validation set is too small or the network broken; it is then clamped.
LOWEST, HIGHEST = 0.1, 10.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 that minimises the cross-entropy of logits (n, C) / T with labels (n,), by golden section on log T."""
    z, y = torch.from_numpy(np.asarray(logits, np.float64)), torch.from_numpy(np.asarray(labels, np.int64))

    def cost(log_t: float) -> float:
        return float(F.cross_entropy(z * float(np.exp(-log_t)), y))

    low, high = np.log(LOWEST), np.log(HIGHEST)
    golden = (5**0.5 - 1) / 2
    for _ in range(40):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if cost(a) < cost(b) else (a, high)
    return float(np.exp((low + high) / 2))


def fit_temperatures(logits: Mapping[str, Sequence[np.ndarray]], labels: np.ndarray) -> dict[str, list[float]]:
    """{mask bits: [logits (n, C) per ratio level]} -> {mask bits: [temperature per level]}."""
    return {mask: [round(fit_temperature(z, labels), 4) for z in rows] for mask, rows in logits.items()}


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """From probabilities (n, C) and labels (n,): the mean gap between confidence and accuracy over bins of equal width, weighted
    by their sizes."""
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    return float(
        sum(
            abs(correct[place == b].mean() - confidence[place == b].mean()) * (place == b).mean()
            for b in range(bins)
            if (place == b).any()
        )
    )
