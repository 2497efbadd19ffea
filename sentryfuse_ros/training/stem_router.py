"""Teaching the router of a camera that has other sensors beside it, on recordings in which the robot stands now and then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..datasets.camera_pictures import CameraPictures
from ..model.checkpoint import Checkpoint
from ..streaming.branches import RouterWeights
from ..streaming.camera_stream import CameraStream
from ..streaming.change_rule import ChangeRule, rule_for
from ..streaming.stream_classifier import StreamResult
from ..streaming.window_encoder import WindowEncoder
from .router_training import router_examples, train_router

UNSURE = 0.4  # least confidence that is drawn


class _WithoutConfidence:
    """Encodes every picture whole. The confidence is drawn: that of a prediction which rests on four sensors says little of the
    camera, and so the router learns to leave it out."""

    def __init__(self, encoder: WindowEncoder, seed: int):
        self._stream, self._rng = CameraStream(encoder), np.random.default_rng(seed)

    def reset(self) -> None:
        self._stream.reset()

    def update(self, picture: np.ndarray) -> StreamResult:
        sure = self._rng.uniform(UNSURE, 1.0)
        step = self._stream.update(picture)
        return StreamResult(np.log(np.array([sure, 1.001 - sure], np.float32)), step)


def learned_router(
    checkpoint: Checkpoint,
    camera: str,
    recordings: Sequence[CameraPictures],
    costs: tuple[float, float, float],
    rule: ChangeRule | None = None,
    seed: int = 0,
) -> RouterWeights:
    """From whole recordings with stops. While the robot drives, its gyro keeps most pictures from the router; where it does not,
    the router must know what it costs to reuse a picture of a robot that drives.

    costs: of the branches; see `RouterWeights`.
    """
    encoder = WindowEncoder(checkpoint, camera)
    streams = [list(recording.frames) for recording in recordings]
    used = rule or rule_for(encoder.spec.encoding)
    return train_router(router_examples(encoder, _WithoutConfidence(encoder, seed), streams, used, seed), costs, seed)
