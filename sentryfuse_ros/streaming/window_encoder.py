"""The patch encoder of a checkpoint in ONNX Runtime, for some windows of a picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from ..errors import ParameterError
from ..model.checkpoint import Checkpoint
from ..model.patch_config import PatchTokenizerConfig
from ..model.tensor_shapes import stem_weights
from ..preprocessing import ModalitySpec
from ..runtime.onnx_graph import OnnxGraph
from ..runtime.onnx_patches import encode_windows, read_picture, window_patches
from ..runtime.onnx_session import make_session

_PICTURE, _WINDOWS, _CODES = "picture", "windows", "codes"  # inputs of a session


class Encoded(NamedTuple):
    """What is known of a picture."""

    codes: np.ndarray  # (windows, code)
    token: np.ndarray  # (D,) what they tell of the picture as a whole


class WindowEncoder:
    """Codes of windows by any size of a checkpoint's patch encoder, and what they tell of the whole picture.

    One session takes the windows out of the picture, encodes them, puts their codes in place and reads all codes out: each call
    of ONNX Runtime, and each array between two calls, costs more than some of these steps.
    """

    def __init__(self, checkpoint: Checkpoint, name: str, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)):
        """``name``: the model input. Raises ParameterError where it has no patch encoder, CheckpointError where it cannot run."""
        config = checkpoint.config
        place = config.names.index(name)
        self.spec: ModalitySpec = config.modalities[place]
        options = config.tokenizer[name]
        if not isinstance(options, PatchTokenizerConfig):
            raise ParameterError(
                f"stem of model input {name!r}", options.stem_name or "convolutions", "patches", "train it with one"
            )
        self.options, self.d_model = options, config.d_model
        self.windows = int(np.prod(options.window_grid(self.spec)))
        self._all, self._no_codes = np.arange(self.windows), np.zeros((self.windows, options.code), np.float32)
        self._sessions: list[tuple[Any, list[str]]] = []  # and the names of their outputs: codes, token
        for size in range(1 + len(options.sizes)):
            graph, weights = OnnxGraph(), stem_weights(config, checkpoint.tensors, place, size)
            picture = graph.input(_PICTURE, self.spec.shape[1:])
            windows = graph.input(_WINDOWS, ["n", 1], "int64")
            codes = graph.input(_CODES, [self.windows, options.code])
            patches = window_patches(graph, picture, windows, self.spec, options)
            new = encode_windows(graph, patches, self.spec, options.at_size(size), weights)
            codes = graph.op("ScatterND", codes, windows, new)
            outputs = [graph.expose(codes), graph.expose(read_picture(graph, codes, self.spec, options, weights))]
            self._sessions.append((make_session(graph, threads, providers), outputs))

    @property
    def sizes(self) -> int:
        """Number of sizes: the whole encoder is 0, smaller ones follow."""
        return len(self._sessions)

    def encode(self, picture: np.ndarray, size: int = 0) -> Encoded:
        """Encode all windows of a picture, float32 (C, H, W) that is not normalised."""
        return self.renew(self._no_codes, picture, self._all, size)

    def renew(self, codes: np.ndarray, picture: np.ndarray, windows: np.ndarray, size: int = 0) -> Encoded:
        """Encode some windows (indices, int64) of a picture; the others keep their ``codes``, which stay as they are."""
        session, outputs = self._sessions[size]
        new, token = session.run(outputs, {_PICTURE: picture, _WINDOWS: windows[:, None], _CODES: codes})
        return Encoded(new, token[0])

    def bind(self, size: int, codes: np.ndarray, new_codes: np.ndarray, token: np.ndarray) -> Any:
        """A binding of a session to arrays (windows, code) that it reads and writes, and one (1, D) for the token."""
        session, outputs = self._sessions[size]
        binding, value = session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
        binding.bind_ortvalue_input(_CODES, value(codes))
        for name, array in zip(outputs, (new_codes, token)):
            binding.bind_ortvalue_output(name, value(array))
        return binding

    def run(self, size: int, binding: Any, picture: np.ndarray, windows: np.ndarray | None) -> None:
        """Like `renew`, with what is bound; None stands for all windows."""
        windows = self._all if windows is None else windows
        binding.bind_cpu_input(_PICTURE, np.ascontiguousarray(picture, np.float32))
        binding.bind_cpu_input(_WINDOWS, windows[:, None])
        self._sessions[size][0].run_with_iobinding(binding)

    def flops(self, windows: int, size: int = 0) -> float:
        """FLOPs of encoding some windows of a picture and reading it out; 0 where nothing is encoded."""
        if not windows:
            return 0.0
        options = self.options.at_size(size)
        return float(windows * options.window_flops(self.spec) + options.read_flops(self.spec, self.d_model))


class KnownPicture:
    """What one stream knows of its newest picture: codes of all windows, some older than others.

    There are two arrays of codes, read and written in turns, and bound to the sessions once: that is faster than `renew`.
    """

    def __init__(self, encoder: WindowEncoder):
        self._encoder = encoder
        self._codes = np.zeros((2, encoder.windows, encoder.options.code), np.float32)
        self._token = np.zeros((1, encoder.d_model), np.float32)
        self._turn = 0
        self._bindings: dict[tuple[int, int], Any] = {}  # by size and turn

    def renew(self, picture: np.ndarray, windows: np.ndarray | None = None, size: int = 0) -> np.ndarray:
        """Encode some windows (indices, int64), or all of them, of a picture (C, H, W) that is not normalised; returns the token
        (D,), which is the caller's."""
        key = size, self._turn
        if key not in self._bindings:
            codes, new_codes = self._codes[self._turn], self._codes[1 - self._turn]
            self._bindings[key] = self._encoder.bind(size, codes, new_codes, self._token)
        self._encoder.run(size, self._bindings[key], picture, windows)
        self._turn = 1 - self._turn
        return self._token[0].copy()
