"""Training windows of people, varied: seen from another side, with another build, and with the wearable worn differently.

With four training subjects a network learns how these stand, are built and wear a sensor. The strengths were chosen by leaving
out one training subject in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from sentryfuse_ros.datasets.recording import Recording, Stream
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.training.examples import RecordingExamples
from sentryfuse_ros.training.windows import random_window, stack

SKELETON, WORN = "skeleton", ("accelerometer", "gyroscope")
TURN_DEG = 15.0  # of the skeleton about the vertical, standard deviation
BUILD = 0.1  # of each of its axes, relative, standard deviation
MOUNT_DEG = 15.0  # of the wearable about any axis, standard deviation of the angle's three parts together
SCALE = 0.1  # of each sensor in it, relative, standard deviation


class PeopleExamples(RecordingExamples):
    """RecordingExamples whose skeleton and wearable are varied in training."""

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        if rng is None:
            return super().inputs(index, specs, rng)
        return stack([random_window(another(self.recordings[i], specs, rng), specs, self.augment, rng) for i in index])


def another(recording: Recording, specs: Sequence[ModalitySpec], rng: np.random.Generator) -> Recording:
    """The recording as of another person; only the sensors that ``specs`` ask for are changed.

    The skeleton (k, 60), x y z joint by joint with y up, is turned and stretched at random. Accelerometer and gyroscope (k, 3)
    are turned together and scaled apart.
    """
    changed: dict[str, np.ndarray] = {}
    asked = {spec.name for spec in specs}
    if SKELETON in asked:
        changed[SKELETON] = _skeleton_map(rng)
    if asked.intersection(WORN):
        rotation, _ = cv2.Rodrigues(np.deg2rad(MOUNT_DEG) / 3**0.5 * rng.standard_normal(3))
        changed |= {name: rotation.T * (1 + SCALE * rng.standard_normal()) for name in WORN if name in asked}
    streams = dict(recording.streams)
    for name, change in changed.items():
        stream = streams[name]
        rows = stream.rows.reshape(len(stream.rows), -1, 3) @ change.astype(np.float32)
        streams[name] = Stream(stream.stamp_ns, rows.reshape(stream.rows.shape))
    return replace(recording, streams=streams)


def _skeleton_map(rng: np.random.Generator) -> np.ndarray:
    angle = np.deg2rad(TURN_DEG) * rng.standard_normal()
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) * (1 + BUILD * rng.standard_normal(3))
