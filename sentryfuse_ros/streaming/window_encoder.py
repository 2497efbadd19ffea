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
from ..runtime.onnx_patches import cut_picture, encode_windows, normalised, read_picture
from ..runtime.onnx_session import BoundSession, bound_session, make_session

_PATCHES, _WINDOWS, _CODES = "patches", "windows", "codes"  # inputs of a session


class Encoded(NamedTuple):
    """What is known of a picture."""

    codes: np.ndarray  # (windows, code)
    token: np.ndarray  # (D,) what they tell of the picture as a whole


class WindowEncoder:
    """Codes of windows by any size of a checkpoint's patch encoder, and what they tell of the whole picture.

    One session encodes windows, puts their codes in place and reads all codes out: each call of ONNX Runtime, and each array
    between two calls, costs more than some of these steps.
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
        self._sessions: list[tuple[Any, list[str]]] = []  # and the names of their outputs: codes, token
        for size in range(1 + len(options.sizes)):
            graph, weights = OnnxGraph(), stem_weights(config, checkpoint.tensors, place, size)
            patches = graph.input(_PATCHES, ["n * patches", self.spec.channels * options.patch**2])
            windows = graph.input(_WINDOWS, ["n", 1], "int64")
            codes = graph.input(_CODES, [self.windows, options.code])
            new = encode_windows(graph, normalised(graph, patches, self.spec, options), self.spec, options.at_size(size), weights)
            codes = graph.op("ScatterND", codes, windows, new)
            outputs = [graph.expose(codes), graph.expose(read_picture(graph, codes, self.spec, options, weights))]
            self._sessions.append((make_session(graph, threads, providers), outputs))

    @property
    def sizes(self) -> int:
        """Number of sizes: the whole encoder is 0, smaller ones follow."""
        return len(self._sessions)

    def encode(self, picture: np.ndarray, size: int = 0) -> Encoded:
        """Encode all windows of a picture, float32 (C, H, W) that is not normalised."""
        return self.renew(np.zeros((self.windows, self.options.code), np.float32), picture, np.arange(self.windows), size)

    def renew(self, codes: np.ndarray, picture: np.ndarray, windows: np.ndarray, size: int = 0) -> Encoded:
        """Encode some windows (indices, int64) of a picture; the others keep their ``codes``, which stay as they are."""
        session, outputs = self._sessions[size]
        cut = cut_picture(picture, self.options)
        patches = cut[np.divmod(windows, cut.shape[1])].reshape(-1, self.spec.channels * self.options.patch**2)
        new, token = session.run(outputs, {_PATCHES: patches, _WINDOWS: windows[:, None], _CODES: codes})
        return Encoded(new, token[0])

    def bind(self, size: int, patches: np.ndarray, windows: np.ndarray, codes: np.ndarray, token: np.ndarray) -> BoundSession:
        """A session that reads and writes these arrays, which the caller keeps: patches (n * patches, C * pixels) of
        windows (n, 1), the codes (windows, code) of all windows, which it renews in place, and a token (1, D)."""
        session, outputs = self._sessions[size]
        binding, value = session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
        held = value(codes)
        for name, given in ((_PATCHES, value(patches)), (_WINDOWS, value(windows)), (_CODES, held)):
            binding.bind_ortvalue_input(name, given)
        for name, made in zip(outputs, (held, value(token))):
            binding.bind_ortvalue_output(name, made)
        return bound_session(session, binding)

    def flops(self, windows: int, size: int = 0) -> float:
        """FLOPs of encoding some windows of a picture and reading it out; 0 where nothing is encoded."""
        if not windows:
            return 0.0
        options = self.options.at_size(size)
        return float(windows * options.window_flops(self.spec) + options.read_flops(self.spec, self.d_model))


class KnownPicture:
    """What one stream knows of its newest picture: codes of all windows, some older than others.

    All arrays are made once, and bound to the sessions once for every number of windows: that is faster than
    `WindowEncoder.renew`.
    """

    def __init__(self, encoder: WindowEncoder):
        self._encoder, options = encoder, encoder.options
        self._columns = options.window_grid(encoder.spec)[1]
        self._codes = np.zeros((encoder.windows, options.code), np.float32)
        self._token = np.zeros((1, encoder.d_model), np.float32)
        patch = (encoder.spec.channels, options.patch, options.patch)
        self._patches = np.zeros((encoder.windows, options.window, options.window, *patch), np.float32)
        self._by_place = self._patches.reshape(-1, self._columns, *self._patches.shape[1:])
        self._all, self._some = np.arange(encoder.windows), np.zeros((encoder.windows, 1), np.int64)
        self._bound: dict[tuple[int, int], BoundSession] = {}  # by size and number of windows

    def renew(self, picture: np.ndarray, windows: Sequence[int] | None = None, size: int = 0) -> np.ndarray:
        """Encode some windows (indices), or all of them, of a picture, float32 (C, H, W) that is not normalised; returns the
        token (D,), which is the caller's."""
        cut, count = cut_picture(picture, self._encoder.options), len(self._all)
        if windows is None:
            self._by_place[...] = cut
            self._some[:, 0] = self._all
        else:
            count, columns, patches = len(windows), self._columns, self._patches
            for k, window in enumerate(windows):  # of a few, each by itself is faster than all by their indices
                patches[k] = cut[divmod(window, columns)]
            self._some[:count, 0] = windows
        key = size, count
        if key not in self._bound:
            self._bound[key] = self._bind(size, count)
        self._bound[key].run()
        return self._token[0].copy()

    def _bind(self, size: int, count: int) -> BoundSession:
        pixels = self._patches[0, 0, 0].size
        return self._encoder.bind(size, self._patches[:count].reshape(-1, pixels), self._some[:count], self._codes, self._token)
