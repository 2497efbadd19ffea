"""The patch encoder of a checkpoint in ONNX Runtime, for some windows of a picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ParameterError
from ..model.checkpoint import Checkpoint
from ..model.patch_config import PatchTokenizerConfig
from ..model.tensor_shapes import stem_weights
from ..preprocessing import ModalitySpec
from ..runtime.onnx_graph import OnnxGraph
from ..runtime.onnx_patches import cut_picture, embedding_offsets, encode_windows
from ..runtime.onnx_read_out import kept_rows, read_anew
from ..runtime.onnx_session import BoundSession, bound_arrays, bound_session, make_session

# Inputs of a session.
_PATCHES, _OFFSETS, _WINDOWS, _CODES, _FEATURES = "patches", "offsets", "windows", "codes", "features"


class Encoded(NamedTuple):
    """What is known of a picture. The last rows of codes and features are 0, and stand for what is outside of it."""

    codes: np.ndarray  # (windows + 1, code)
    token: np.ndarray  # (D,) what they tell of the picture as a whole
    # (places + 1, channels) of the first convolution of the read-out; no rows where the encoder makes all of them every time.
    features: np.ndarray


class WindowEncoder:
    """Codes of windows by any size of a checkpoint's patch encoder, and what they tell of the whole picture.

    One session encodes windows, puts their codes in place and reads the picture out: each call of ONNX Runtime, and each array
    between two calls, costs more than some of these steps. In large pictures, the first convolution of the read-out runs only at
    the places that see a new code; its features at the others are kept, too.
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
        self._feature_rows = kept_rows(self.spec, options)
        self._sessions: list[tuple[Any, list[str]]] = []  # and the names of their outputs, in the order of `Encoded`
        self._offsets: list[np.ndarray] = []  # `embedding_offsets` of all windows, by size
        for size in range(1 + len(options.sizes)):
            graph, weights = OnnxGraph(), stem_weights(config, checkpoint.tensors, place, size)
            patches = graph.input(_PATCHES, ["n * patches", self.spec.channels * options.patch**2])
            windows = graph.input(_WINDOWS, ["n", 1], "int64")
            codes = graph.input(_CODES, [self.windows + 1, options.code])
            before = graph.input(_FEATURES, [self._feature_rows, options.reads[1]]) if self._feature_rows else None
            offsets = graph.input(_OFFSETS, ["n * patches", options.width])
            new = encode_windows(graph, patches, self.spec, options.at_size(size), weights, is_normalised=False, offsets=offsets)
            self._offsets.append(embedding_offsets(weights, self.windows))
            codes = graph.op("ScatterND", codes, windows, new)
            token, features = read_anew(graph, codes, windows, before, self.spec, options, weights)
            outputs = [graph.expose(made) for made in ((codes, token, features) if before else (codes, token))]
            self._sessions.append((make_session(graph, threads, providers), outputs))

    @property
    def sizes(self) -> int:
        """Number of sizes: the whole encoder is 0, smaller ones follow."""
        return len(self._sessions)

    def encode(self, picture: np.ndarray, size: int = 0) -> Encoded:
        """Encode all windows of a picture, float32 (C, H, W) that is not normalised."""
        return self.renew(self.blank(), picture, np.arange(self.windows), size)

    def renew(self, known: Encoded, picture: np.ndarray, windows: np.ndarray, size: int = 0) -> Encoded:
        """Encode some windows (indices, int64) of a picture; of the others, what was ``known`` before still holds."""
        session, outputs = self._sessions[size]
        cut = cut_picture(picture, self.options)
        patches = cut[np.divmod(windows, cut.shape[1])].reshape(-1, self.spec.channels * self.options.patch**2)
        codes, token, *features = session.run(outputs, self._inputs(size, patches, windows[:, None], known))
        return Encoded(codes, token[0], *features or [known.features])

    def blank(self) -> Encoded:
        """What is known before the first picture."""
        codes = np.zeros((self.windows + 1, self.options.code), np.float32)
        features = np.zeros((self._feature_rows, self.options.reads[1]), np.float32)
        return Encoded(codes, np.zeros(self.d_model, np.float32), features)

    def bind(self, size: int, patches: np.ndarray, windows: np.ndarray, known: Encoded) -> BoundSession:
        """A session that reads and writes these arrays, which the caller keeps: patches (n * patches, C * pixels) of
        windows (n, 1), and what is ``known``, which it renews in place."""
        session, outputs = self._sessions[size]
        made = dict(zip(outputs, (known.codes, known.token[None], known.features)))
        return bound_session(session, bound_arrays(session, self._inputs(size, patches, windows, known), made))

    def _inputs(self, size: int, patches: np.ndarray, windows: np.ndarray, known: Encoded) -> dict[str, np.ndarray]:
        offsets = self._offsets[size][: len(patches)]
        inputs = {_PATCHES: patches, _OFFSETS: offsets, _WINDOWS: windows, _CODES: known.codes}
        return {**inputs, _FEATURES: known.features} if self._feature_rows else inputs

    def flops(self, windows: int, size: int = 0) -> float:
        """FLOPs of encoding some windows of a picture and reading all of it out; 0 where nothing is encoded."""
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
        self._known = encoder.blank()
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
        return self._known.token.copy()

    def _bind(self, size: int, count: int) -> BoundSession:
        pixels = self._patches[0, 0, 0].size
        return self._encoder.bind(size, self._patches[:count].reshape(-1, pixels), self._some[:count], self._known)
