"""A model with one camera, picture by picture: the camera's stream, the tokens of a window, and the backbone of one plan."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from ..model.checkpoint import Checkpoint
from ..model.subnetwork import Subnetwork
from ..model.tensor_shapes import token_counts
from ..pruning.gate_scores import gate_scores
from ..pruning.units import subnetwork_units
from ..runtime.onnx_backend import SEEN, TOKENS, OnnxBackend
from ..runtime.onnx_fusion import LOGITS
from ..runtime.onnx_session import bound_session
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
        session: Any = OnnxBackend(checkpoint, threads).compile(part, units).session
        self.stream = stream
        self._tokens = np.zeros((spec.shape[0], config.d_model), np.float32)  # of the window, the oldest first
        self._seen = np.zeros(spec.shape[0], np.float32)
        self._logits = np.zeros((1, len(config.classes)), np.float32)
        binding, value = session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
        binding.bind_ortvalue_input(spec.name + TOKENS, value(self._tokens))
        binding.bind_ortvalue_input(spec.name + SEEN, value(self._seen))
        binding.bind_ortvalue_output(LOGITS, value(self._logits))
        self._bound = bound_session(session, binding)
        self._reuse, self._last = reuse_predictions, self._logits[0].copy()

    def reset(self) -> None:
        """Forget every picture."""
        self.stream.reset()
        self._tokens[...] = 0
        self._seen[...] = 0

    def update(self, picture: np.ndarray, **stream_state: Any) -> StreamResult:
        """Take the next picture (C, H, W), not normalised; ``stream_state`` as in `CameraStream.update`."""
        step = self.stream.update(picture, **stream_state)
        for window, newest in ((self._tokens, step.token), (self._seen, 1)):
            window[:-1] = window[1:]
            window[-1] = newest
        if step.branch != Branch.REUSE or not self._reuse:
            self._last = self.logits()
        return StreamResult(self._last, step)

    def logits(self) -> np.ndarray:
        """Of the pictures so far (classes,)."""
        self._bound.run()
        return self._logits[0].copy()
