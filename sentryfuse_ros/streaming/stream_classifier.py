"""A model with one camera, picture by picture: the camera's stream, the tokens of a window, and the backbone of one plan."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..model.checkpoint import Checkpoint
from ..model.subnetwork import Subnetwork
from ..model.tensor_shapes import token_counts
from ..pruning.gate_scores import gate_scores
from ..pruning.units import subnetwork_units
from ..runtime.onnx_backend import SEEN, TOKENS, OnnxBackend
from ..runtime.onnx_fusion import LOGITS
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
        self._session: Any = OnnxBackend(checkpoint, threads).compile(part, units).session
        self.stream, self._names = stream, (spec.name + TOKENS, spec.name + SEEN)
        self._slots = spec.shape[0]
        # Twice as long as a window, so that a new picture seldom moves the older ones.
        self._tokens = np.zeros((2 * self._slots, config.d_model), np.float32)
        self._seen = np.zeros(2 * self._slots, np.float32)
        self._stop = self._slots  # of the window
        self._reuse, self._last = reuse_predictions, np.zeros(len(config.classes), np.float32)

    def reset(self) -> None:
        """Forget every picture."""
        self.stream.reset()
        self._tokens[...] = 0
        self._seen[...] = 0

    def update(self, picture: np.ndarray, **stream_state: Any) -> StreamResult:
        """Take the next picture (C, H, W), not normalised; ``stream_state`` as in `CameraStream.update`."""
        step = self.stream.update(picture, **stream_state)
        if self._stop == len(self._seen):
            self._stop = self._slots
            for kept in (self._tokens, self._seen):
                kept[: self._slots] = kept[self._slots :]
        self._tokens[self._stop], self._seen[self._stop] = step.token, 1
        self._stop += 1
        if step.branch != Branch.REUSE or not self._reuse:
            self._last = self.logits()
        return StreamResult(self._last, step)

    def logits(self) -> np.ndarray:
        """Of the pictures so far (classes,)."""
        window, (tokens, seen) = slice(self._stop - self._slots, self._stop), self._names
        feeds = {tokens: self._tokens[window], seen: self._seen[window]}
        found: np.ndarray = self._session.run([LOGITS], feeds)[0][0]
        return found
