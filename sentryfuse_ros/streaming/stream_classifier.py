"""A model with one camera, picture by picture: the camera's stream, the tokens of a window, and the backbone of one plan."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..model.checkpoint import Checkpoint
from ..model.subnetwork import Subnetwork
from ..model.tensor_shapes import token_counts
from ..pruning.gate_scores import gate_scores
from ..pruning.units import subnetwork_units
from ..runtime.onnx_backend import OnnxBackend
from ..runtime.onnx_fusion import EMPTY
from ..runtime.plan_inputs import PictureInput
from .branches import Branch
from .camera_stream import CameraStream, StreamStep


class StreamResult(NamedTuple):
    """What one picture led to."""

    logits: np.ndarray  # (classes,)
    step: StreamStep


class StreamClassifier:
    """Classifies the last K pictures after every picture; the tokens of the older ones are kept."""

    def __init__(
        self, checkpoint: Checkpoint, stream: CameraStream, part: Subnetwork, threads: int = 1, reuse_predictions: bool = False
    ):
        """``reuse_predictions``: a picture whose token is reused does not run the backbone either."""
        config = checkpoint.config
        (spec,) = config.modalities
        scores = gate_scores(config, checkpoint.tensors, part.used)
        units = subnetwork_units(config, token_counts(config), part, scores)
        self._plan = OnnxBackend(checkpoint, threads).compile(part, units)
        self.stream = stream
        # Its arrays are kept up to date picture by picture: few of a window's tokens change.
        (given,) = self._plan.inputs
        assert isinstance(given, PictureInput)
        self._given, self._tokens = given, given.arrays[spec.name]  # of the window, the oldest first
        self._frames = spec.shape[0] // given.tokens  # pictures that share a token
        self._pictures = 0  # of the window, so far
        self._reuse, self._last = reuse_predictions, np.zeros(len(config.classes), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget every picture."""
        self.stream.reset()
        self._tokens[...] = 0
        self._pictures = 0
        self._plan.emptiness[...] = EMPTY

    def update(self, picture: np.ndarray, **stream_state: Any) -> StreamResult:
        """Take the next picture (C, H, W), not normalised; ``stream_state`` as in `CameraStream.update`."""
        step = self.stream.update(picture, **stream_state)
        self._tokens[:-1] = self._tokens[1:]
        self._tokens[-1] = step.token
        if self._pictures < len(self._tokens):
            self._plan.emptiness[0, -1 - self._pictures // self._frames] = 0
            self._pictures += 1
        if step.branch != Branch.REUSE or not self._reuse:
            self._last = self.logits()
        return StreamResult(self._last, step)

    def logits(self) -> np.ndarray:
        """Of the pictures so far (classes,)."""
        self._given.lay_side_by_side()
        return self._plan.run()[0][0].copy()
