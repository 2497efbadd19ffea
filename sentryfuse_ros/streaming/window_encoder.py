"""The patch encoder of a checkpoint in ONNX Runtime, for some windows of a picture at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ParameterError
from ..model.checkpoint import Checkpoint
from ..model.patch_config import PatchTokenizerConfig
from ..model.tensor_shapes import stem_weights
from ..preprocessing import ModalitySpec
from ..runtime.onnx_graph import OnnxGraph
from ..runtime.onnx_patches import encode_windows, read_picture
from ..runtime.onnx_session import make_session

_PATCHES, _CODES, _PICTURE = "patches", "codes", "picture"


class WindowEncoder:
    """Codes of windows by any size of a checkpoint's patch encoder, and what they tell of the whole picture."""

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
        self._sessions = []
        for size in range(1 + len(options.sizes)):
            graph, weights = OnnxGraph(), stem_weights(config, checkpoint.tensors, place, size)
            pixels = self.spec.channels * options.patch**2
            patches = graph.input(_PATCHES, ["n", options.window**2, pixels])
            graph.output(encode_windows(graph, patches, self.spec, options.at_size(size), weights), _CODES)
            self._sessions.append(make_session(graph, threads, providers))
        graph, weights = OnnxGraph(), stem_weights(config, checkpoint.tensors, place, 0)
        codes = graph.input(_CODES, [self.windows, options.code])
        graph.output(read_picture(graph, codes, self.spec, options, weights), _PICTURE)
        self._reader = make_session(graph, threads, providers)
        self._mean = np.asarray(self.spec.mean or [0.0] * self.spec.channels, np.float32)[:, None]
        self._std = np.asarray(self.spec.std or [1.0] * self.spec.channels, np.float32)[:, None]
        self._has_holes = self.spec.encoding == "depth_m"

    @property
    def sizes(self) -> int:
        """Number of sizes: the whole encoder is 0, smaller ones follow."""
        return len(self._sessions)

    def encode(self, picture: np.ndarray, windows: np.ndarray | None = None, size: int = 0) -> np.ndarray:
        """Codes (n, code) of some windows (indices) or all windows of a picture (C, H, W) that is not normalised."""
        codes: np.ndarray = self._sessions[size].run([_CODES], {_PATCHES: self.patches(picture, windows)})[0]
        return codes

    def read(self, codes: np.ndarray) -> np.ndarray:
        """Codes of all windows (windows, code) -> what is known of the picture (D,)."""
        picture: np.ndarray = self._reader.run([_PICTURE], {_CODES: codes})[0][0]
        return picture

    def flops(self, windows: int, size: int = 0) -> float:
        """FLOPs of encoding some windows of a picture and reading it out; 0 where nothing is encoded."""
        if not windows:
            return 0.0
        options = self.options.at_size(size)
        return float(windows * options.window_flops(self.spec) + options.read_flops(self.spec, self.d_model))

    def patches(self, picture: np.ndarray, windows: np.ndarray | None = None) -> np.ndarray:
        """Normalised pixels of the patches of windows, (n, patches, C * pixels)."""
        options, channels = self.options, self.spec.channels
        rows, columns = options.window_grid(self.spec)
        window, patch = options.window, options.patch
        view = picture.reshape(channels, rows, window, patch, columns, window, patch).transpose(1, 4, 2, 5, 0, 3, 6)
        if windows is not None:
            view = view[np.divmod(windows, columns)]
        pixels = view.reshape(-1, window**2, channels, patch**2)
        normalised = (pixels - self._mean) / self._std
        if self._has_holes:
            normalised *= pixels > 0
        return normalised.reshape(-1, window**2, channels * patch**2)
