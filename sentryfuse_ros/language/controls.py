"""Two ways to make a sentence without a decoder, which one must beat: a template, and the sentence of the most similar window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .facts import Facts
from .grammar import compose
from .speaker import FusedWindow


def template_sentence(class_name: str, sensors: Mapping[str, str], rng: np.random.Generator) -> str:
    """What can be said from the classifier's answer and the states of the sensors, in the learned wordings."""
    return compose(Facts(class_name, sensors=sensors), rng)


class NearestSentence:
    """Says what was true in the training window whose fused tokens are the most similar, with the states of the sensors as they
    are now: those are known, and a sentence with the states of another moment would be an easy prey."""

    def __init__(self, lengths: Sequence[int], windows: Sequence[FusedWindow], facts: Sequence[Facts]):
        """``lengths``: tokens per model input. ``windows``: training windows under one subnetwork; ``facts``: of each."""
        self._lengths, self._facts = lengths, facts
        features = np.stack([self._features(window) for window in windows])
        self._mean, self._std = features.mean(0), features.std(0) + 1e-6
        self._known = self._unit(features)

    def say(self, window: FusedWindow, sensors: Mapping[str, str], rng: np.random.Generator) -> str:
        """The sentence for a window under the same subnetwork."""
        similar = self._known @ self._unit(self._features(window)[None])[0]
        return compose(self._facts[int(similar.argmax())].with_sensors(sensors), rng)

    def _features(self, window: FusedWindow) -> np.ndarray:
        """Mean of the fused tokens of each sensor, one after another."""
        lengths = [n for n, used in zip(self._lengths, window.part.used) if used]
        return np.concatenate([part.mean(0) for part in np.split(window.fused, np.cumsum(lengths)[:-1])])

    def _unit(self, features: np.ndarray) -> np.ndarray:
        scaled = (features - self._mean) / self._std
        return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-9)
