"""Training windows of recordings with a skeleton: it is also seen from another side and of another build.

A Kinect's skeleton of four training subjects says much about how these stand and are built. Strengths were chosen by leaving
one training subject out in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..datasets.recording import Recording, Stream
from ..modalities.inputs import ModalitySpec
from ..training.examples import RecordingExamples
from ..training.windows import random_window, stack

NAME = "skeleton"
TURN_DEG = 15.0   # about the vertical, standard deviation
BUILD = 0.1       # of each axis, relative, standard deviation


class SkeletonExamples(RecordingExamples):
    """As RecordingExamples, but for what training sees of the skeleton."""

    def inputs(self, index: np.ndarray, specs: Sequence[ModalitySpec],
               rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        if rng is None or NAME not in {spec.name for spec in specs}:
            return super().inputs(index, specs, rng)
        return stack([random_window(turned(self.recordings[i], rng), specs, self.augment, rng) for i in index])


def turned(recording: Recording, rng: np.random.Generator) -> Recording:
    """The recording with its skeleton (k, 60), x y z joint by joint, y up, turned and stretched by chance."""
    stream = recording.streams[NAME]
    angle = np.deg2rad(TURN_DEG) * rng.standard_normal()
    cos, sin = np.cos(angle), np.sin(angle)
    change = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) * (1 + BUILD * rng.standard_normal(3))
    rows = stream.rows.reshape(len(stream.rows), -1, 3) @ change.T.astype(np.float32)
    streams = {**recording.streams, NAME: Stream(stream.stamp_ns, rows.reshape(stream.rows.shape))}
    return replace(recording, streams=streams)
