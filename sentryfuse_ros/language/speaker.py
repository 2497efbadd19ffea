"""Says what a model perceives, on ONNX Runtime and without torch: the words of one sentence, one after another."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..model.subnetwork import Subnetwork
from ..runtime.onnx_session import make_session
from . import onnx_decoder
from .checkpoint import CaptionCheckpoint, captions_path, check_belongs, read_captions
from .config import BEGIN, END, CaptionConfig
from .grammar import written
from .vocabulary import Vocabulary

LEAST_PROBABILITY = 1e-6


class FusedWindow(NamedTuple):
    """What a model made of a window: N tokens of the sensors that its plan uses, as they entered the backbone and as they left it
    (N, D), and the class probabilities (C,)."""

    part: Subnetwork
    stem: np.ndarray
    fused: np.ndarray
    probabilities: np.ndarray


class Caption(NamedTuple):
    """A sentence: as words with spaces between them, and as people write it. confidence: mean probability of its words."""

    words: str
    text: str
    confidence: float
    duration_s: float


class Speaker:
    """One caption head. Any thread may call it, but only one at a time."""

    def __init__(self, checkpoint: CaptionCheckpoint, threads: int = 1):
        self.config: CaptionConfig = checkpoint.config
        self.info = dict(checkpoint.info)
        self._weights, self._threads = checkpoint.tensors, threads
        self._vocabulary = Vocabulary(self.config.words)
        self._starts = np.cumsum([0, *self.config.lengths])
        self._levels: dict[float, _Level] = {}

    @classmethod
    def load(cls, model: str | Path, model_sha256: str, threads: int = 1) -> Speaker:
        """The head of a model (its folder or file). Raises CheckpointError if there is none, or it is of other weights."""
        path = captions_path(model)
        checkpoint = read_captions(path)
        check_belongs(checkpoint, path, model_sha256)
        return cls(checkpoint, threads)

    def warm(self) -> None:
        """Make the sessions of all levels, so that no later sentence takes longer."""
        for level in self.config.ratio_levels:
            self._level(level)

    def say(self, window: FusedWindow, states: Mapping[str, str], ratio: float = 0.0) -> Caption:
        """One sentence, the most probable word being taken each time. ``states``: what each sensor does (`facts.SENSOR_STATES`)
        by the name of its model input; ``ratio``: share of the head that is left out, rounded up to one of its levels."""
        began = time.perf_counter()
        numbers, probability = self._level(self.config.level(ratio)).words(self._rows(window, states))
        words = self._vocabulary.decode(numbers)
        return Caption(words, written(words), probability, time.perf_counter() - began)

    def _level(self, level: float) -> _Level:
        if level not in self._levels:
            self._levels[level] = _Level(self.config, self._weights, level, self._threads)
        return self._levels[level]

    def _rows(self, window: FusedWindow, states: Mapping[str, str]) -> dict[str, np.ndarray]:
        """The inputs of the percepts' graph."""
        w, config = self._weights, self.config
        live = [i for i, used in enumerate(window.part.used) if used]
        places = np.concatenate([np.arange(self._starts[i], self._starts[i + 1]) for i in live])
        numbers = [config.states.index(states[name]) for name in config.modalities]
        answer = np.log(np.maximum(window.probabilities, LEAST_PROBABILITY))
        answer = w["reader.answer.weight"] @ answer + w["reader.answer.bias"]
        state = w["reader.state"][np.arange(len(numbers)), numbers]
        return {
            onnx_decoder.TOKENS: np.concatenate([window.stem, window.fused], 1, dtype=np.float32),
            onnx_decoder.PLACED: w["reader.place"][places] + w["reader.depth"][window.part.layers - 1],
            onnx_decoder.REST: np.concatenate([state, answer[None]], dtype=np.float32),
        }


class _Level:
    """The sessions of one pruning level."""

    def __init__(self, config: CaptionConfig, weights: Mapping[str, np.ndarray], level: float, threads: int):
        self._config, self._width = config, config.width(level)
        self._percepts: Any = make_session(onnx_decoder.percept_graph(config, weights, self._width), threads)
        self._next: Any = make_session(onnx_decoder.word_graph(config, weights, self._width), threads)
        self._rows = [weights["word"], weights["position"]]
        self._kept = [name for layer in range(config.layers) for name in onnx_decoder.word_keys(layer)]
        self._read = [name for layer in range(config.layers) for name in onnx_decoder.percept_keys(layer)]
        self._outputs = [onnx_decoder.SCORES, *("new_" + name for name in self._kept)]

    def words(self, rows: Mapping[str, np.ndarray]) -> tuple[Sequence[int], float]:
        """Numbers of the words of a sentence, END last unless it is cut, and the mean of their probabilities."""
        feeds = dict(zip(self._read, self._percepts.run(self._read, rows)))
        for name in self._kept:
            groups, hd = self._width.groups, self._config.head_dim
            feeds[name] = np.empty((groups, hd, 0) if "keys" in name else (groups, 0, hd), np.float32)
        number, numbers, probabilities = BEGIN, [], []
        word, position = self._rows
        for step in range(self._config.longest):
            feeds[onnx_decoder.WORD] = (word[number] + position[step])[None]
            scores, *kept = self._next.run(self._outputs, feeds)
            feeds.update(zip(self._kept, kept))
            number = int(scores[0].argmax())
            numbers.append(number)
            probabilities.append(float(1 / np.exp(scores[0] - scores[0].max()).sum()))
            if number == END:
                break
        return numbers, float(np.mean(probabilities))
