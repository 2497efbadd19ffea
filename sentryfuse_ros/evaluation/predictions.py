"""What a model predicts for every example under every mask and pruning ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import DataError
from ..masks import all_masks
from ..model.subnetwork import Subnetwork
from ..preprocessing import ModalitySpec
from ..pruning.planner import PlanChoice
from ..runtime.engine import Engine
from ..training.examples import Examples, RecordingExamples, WindowExamples
from ..training.logits import predict_subnetworks
from ..training.older_pictures import OlderPictures
from ..training.windows import stack, window_at


@dataclass(frozen=True)
class Predictions:
    """n labelled examples under all masks and ratio levels.

    labels (n,) class ids. recording (n,) int: examples with the same number are of one recording. predicted (masks, levels, n)
    class ids, -1 if none of the mask's sensors had data. confidence (masks, levels, n): the highest calibrated probability, 0
    if there is no prediction.
    """

    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    masks: tuple[tuple[bool, ...], ...]
    levels: tuple[float, ...]
    labels: np.ndarray
    recording: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether a prediction is the label, (masks, levels, n) bool."""
        return self.predicted == self.labels

    @property
    def judged(self) -> np.ndarray:
        """Whether there is a prediction, because one of the mask's sensors had data: (masks, n) bool."""
        return self.predicted[:, 0] >= 0

    def select(self, chosen: np.ndarray) -> Predictions:
        """Those of the examples ``chosen`` (bool (n,))."""
        return replace(
            self,
            labels=self.labels[chosen],
            recording=self.recording[chosen],
            predicted=self.predicted[..., chosen],
            confidence=self.confidence[..., chosen],
        )

    def masks_missing(self, count: int) -> list[int]:
        """The places of the masks that lack ``count`` sensors."""
        return [i for i, mask in enumerate(self.masks) if len(mask) - sum(mask) == count]

    def live(self, place: int) -> tuple[str, ...]:
        """Names of the live sensors of the mask at ``place``."""
        return tuple(name for name, bit in zip(self.modalities, self.masks[place]) if bit)


class LastMoments(RecordingExamples):
    """Recordings as a robot sees them at the last moment at which every sensor is live."""

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        chosen = [self.recordings[i] for i in index]
        return stack([window_at(r, specs, min(int(s.stamp_ns[-1]) for s in r.streams.values())) for r in chosen])


def predict(engine: Engine, examples: Examples, classes: Sequence[str] | None = None) -> Predictions:
    """Run a model over examples whose labels are places in ``classes`` (default: the model's).

    A window in which a sensor was not live is predicted as the node would predict it: under the mask without that sensor. A plan
    that holds its pictures is given pictures that are as old as they may become.
    Raises DataError if there is no example, none with a live sensor, or a class that the model does not know.
    """
    if not len(examples):
        raise DataError("data set", "no example in these groups", "at least one", "choose other groups")
    masks = all_masks(len(engine.modalities))
    choices = [[engine.choice(mask, level) for level in engine.ratio_levels] for mask in masks]
    logits = _logits(engine, examples, [choice for row in choices for choice in row])
    predicted = np.empty((len(masks), len(engine.ratio_levels), len(examples)), np.int64)
    confidence = np.empty(predicted.shape)
    for i, row in enumerate(choices):
        for j, choice in enumerate(row):
            z = torch.from_numpy(logits[choice.part, choice.hold_s]).double()
            p = torch.softmax(z / engine.temperature(choice.part), 1).numpy()
            predicted[i, j], confidence[i, j] = p.argmax(1), p.max(1)
    if isinstance(examples, WindowExamples):
        recording = examples.windows.recording
        live = live_sensors(examples, engine.modalities)
        if not live.any():
            raise DataError("data set", "no window with a live sensor of the model", "at least one", "choose other groups")
        predicted, confidence = under_live_sensors(masks, live, predicted, confidence)
    else:
        recording = np.arange(len(examples))
    return Predictions(
        engine.modalities,
        engine.classes,
        tuple(masks),
        engine.ratio_levels,
        model_labels(engine.classes, classes or engine.classes, examples.labels),
        recording,
        predicted,
        confidence,
    )


def _logits(engine: Engine, examples: Examples, choices: Sequence[PlanChoice]) -> dict[tuple[Subnetwork, float], np.ndarray]:
    """Logits (n, classes) of every plan, by its subnetwork and the time for which it holds pictures."""
    config, network = engine.checkpoint.config, engine.network()
    found: dict[tuple[Subnetwork, float], np.ndarray] = {}
    for hold_s in sorted({choice.hold_s for choice in choices}):
        seen = examples
        if hold_s and isinstance(examples, WindowExamples):
            names = [name for name in config.names if config.tokenizer[name].keeps_tokens]
            seen = OlderPictures(examples, names, hold_s)
        parts = sorted({choice.part for choice in choices if choice.hold_s == hold_s})
        found |= {(part, hold_s): z for part, z in predict_subnetworks(network, seen, parts).items()}
    return found


def live_sensors(examples: Examples, modalities: Sequence[str]) -> np.ndarray:
    """Whether each sensor was live, (n, M) bool; true if the data set does not tell."""
    known = examples.windows.live if isinstance(examples, WindowExamples) else {}
    return np.stack([known.get(name, np.ones(len(examples), bool)) for name in modalities], 1)


def under_live_sensors(
    masks: Sequence[Sequence[bool]], live: np.ndarray, predicted: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Replace predictions (masks, levels, n) by those of each example's effective mask, which is mask AND live (n, M).

    If no sensor is left, the class is -1 and the confidence 0.
    """
    place_of = {tuple(mask): i for i, mask in enumerate(masks)}
    out_predicted, out_confidence = np.full_like(predicted, -1), np.zeros_like(confidence)
    patterns, pattern_of = np.unique(live, axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns.tolist()):
        chosen = np.flatnonzero(pattern_of.reshape(-1) == k)
        for i, mask in enumerate(masks):
            effective = tuple(m and p for m, p in zip(mask, pattern))
            if any(effective):
                out_predicted[i][:, chosen] = predicted[place_of[effective]][:, chosen]
                out_confidence[i][:, chosen] = confidence[place_of[effective]][:, chosen]
    return out_predicted, out_confidence


def model_labels(model_classes: Sequence[str], set_classes: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Class ids of a data set -> those of the model, by name; the set may have fewer classes, and in another order."""
    unknown = [name for name in set_classes if name not in model_classes]
    if unknown:
        raise DataError(
            "data set classes",
            ", ".join(set_classes),
            "classes of the model: " + ", ".join(model_classes),
            f"leave {', '.join(unknown)} out (sentryfuse dataset --ignore), or evaluate a model trained on them",
        )
    return np.array([model_classes.index(name) for name in set_classes], np.int64)[np.asarray(labels)]
