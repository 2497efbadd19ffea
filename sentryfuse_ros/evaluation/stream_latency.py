"""How long a picture takes as a stream and encoded whole, in turns, at batch size 1 in ONNX Runtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..model.checkpoint import Checkpoint
from ..model.patch_config import PatchTokenizerConfig
from ..model.tensor_shapes import stem_weights
from ..runtime.onnx_graph import OnnxGraph
from ..runtime.onnx_patches import cut_picture, encode_windows, read_picture
from ..runtime.onnx_session import make_session
from ..streaming.window_encoder import WindowEncoder
from .people_streams import PeopleStream

Side = Callable[[np.ndarray, float], Any]  # takes a picture and the camera's rate of turn


def time_sides(
    streams: Sequence[PeopleStream], sides: Mapping[str, Side], reset: Callable[[], None], rounds: int, first: int = 1
) -> dict[str, np.ndarray]:
    """Seconds per picture of each side, (pictures,), the median over ``rounds``; the sides take turns in random order.

    Pictures before number ``first`` of every recording are left out; number 0 is encoded whole by all sides.
    """
    rng = np.random.default_rng(0)
    took: dict[str, list[list[float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        now: dict[str, list[float]] = {name: [] for name in sides}
        for stream in streams:
            reset()
            for t, (picture, turn) in enumerate(zip(stream.pictures, stream.turn_rad_s)):
                for name in rng.permutation(list(sides)):
                    started = time.perf_counter()
                    sides[name](picture, float(turn))
                    if t >= first:
                        now[name].append(time.perf_counter() - started)
        for name, seconds in now.items():
            took[name].append(seconds)
    return {name: np.median(seconds, axis=0) for name, seconds in took.items()}


def ratio(slow: np.ndarray, fast: np.ndarray) -> float:
    """How many times as fast, over all pictures together."""
    return round(float(slow.sum() / fast.sum()), 3)


class GlobalAttention:
    """The same encoder as a user would write it: every patch attends to all patches of the picture."""

    def __init__(self, checkpoint: Checkpoint, encoder: WindowEncoder, threads: int = 1):
        (name,) = checkpoint.config.names
        spec, options = encoder.spec, checkpoint.config.tokenizer[name]
        assert isinstance(options, PatchTokenizerConfig)
        self._options, self._shape = options, (options.patch_tokens(spec), spec.channels * options.patch**2)
        graph, weights = OnnxGraph(), stem_weights(checkpoint.config, checkpoint.tensors, 0, 0)
        patches = graph.input("patches", self._shape)
        codes = encode_windows(graph, patches, spec, options, weights, is_normalised=False, everywhere=True)
        graph.output(read_picture(graph, codes, spec, options, weights), "token")
        self._session = make_session(graph, threads)

    def __call__(self, picture: np.ndarray, turn_rad_s: float) -> np.ndarray:
        patches = cut_picture(picture, self._options).reshape(self._shape)
        found: np.ndarray = self._session.run(None, {"patches": patches})[0]
        return found
