"""Runs a checkpoint on ONNX Runtime, without torch: one session per tokeniser, and one per plan.

Weights are sliced in numpy and graphs are written directly (`onnx_tokenizers`, `onnx_fusion`): nothing is traced or exported,
so a plan is ready within milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..model.checkpoint import Checkpoint
from ..model.patch_config import PatchTokenizerConfig
from ..model.subnetwork import Subnetwork
from ..model.tensor_shapes import stem_weights, token_counts
from ..model.tokenizer_config import FrameTokenizerConfig, SeriesTokenizerConfig, TokenizerConfig
from ..preprocessing import ModalitySpec
from ..pruning.units import SiteKeep
from ..sensor_kinds import sensor_kind
from . import onnx_fusion, onnx_patches, onnx_tokenizers
from .backend import BackendOutput, FusedTokens, PictureTokens
from .onnx_graph import OnnxGraph
from .onnx_session import CPU, SharedWeights, make_session

WINDOW = "window"  # input of a session for pictures
TOKENS, SEEN = " tokens", " seen"  # its outputs, and, behind the name of the modality, inputs of a plan's session
RUNS_KEPT = 64  # for which a token is kept at most; a window of 2 s at 10 predictions a second has 20
_PROBE_STRIDE = 997  # every so many-th number of a picture makes the key under which its token is looked up


@dataclass(frozen=True, slots=True)
class FusionSession:
    """The session of one plan. Tokenisers that keep nothing from one window to the next are part of it; those of pictures have
    sessions of their own, which plans with the same stem share."""

    session: Any
    windows: tuple[str, ...]  # inputs that are windows, by modality
    pictures: tuple[tuple[str, PictureSession], ...]  # by modality; the inputs are their TOKENS and SEEN


class OnnxBackend:
    """Forward passes of a checkpoint at batch size 1."""

    name = "onnxruntime"
    takes_tokens = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        threads: int = 1,
        providers: Sequence[str] = CPU,
        gives_tokens: bool = False,
    ):
        """``providers``: ONNX Runtime's execution providers, the preferred one first. ``gives_tokens``: whether runs return
        the tokens, too.

        Raises CheckpointError for a model with a tokeniser that exists in torch only, or a provider that is not there.
        """
        import onnxruntime

        missing = [name for name in providers if name not in onnxruntime.get_available_providers()]
        if missing:
            raise CheckpointError(
                f"execution provider {missing[0]}",
                "not in this ONNX Runtime",
                "one of " + ", ".join(onnxruntime.get_available_providers()),
                "set device to cpu, or install a build of onnxruntime that has it",
            )
        self._config, self._weights = checkpoint.config, checkpoint.tensors
        self._lengths = token_counts(checkpoint.config)
        self._threads, self._providers = threads, list(providers)
        self._gives_tokens = gives_tokens
        self.device = "cpu" if self._providers[0] == CPU[0] else "cuda"
        self._shared = SharedWeights() if self.device == "cpu" else None
        self._pictures: dict[tuple[int, int], PictureSession] = {}  # by place of the sensor and size of its stem
        self._builders = [_builder(spec, self._config.tokenizer[spec.name]) for spec in self._config.modalities]

    def compile(self, part: Subnetwork, units: Sequence[SiteKeep]) -> FusionSession:
        """Write the plan's graph and make its session, and those of its pictures that no earlier plan had."""
        graph, tokens, windows, pictures = OnnxGraph(), {}, [], []
        for i, spec in enumerate(self._config.modalities):
            if not part.used[i]:
                continue
            options = self._config.tokenizer[spec.name]
            if options.keeps_tokens:
                shape = [spec.shape[0], self._config.d_model]
                tokens[i] = graph.input(spec.name + TOKENS, shape), graph.input(spec.name + SEEN, shape[:1])
                if isinstance(options, PatchTokenizerConfig):
                    tokens[i] = onnx_patches.in_motion(
                        graph, *tokens[i], spec, options, stem_weights(self._config, self._weights, i, part.stems[i])
                    )
                pictures.append((spec.name, self._picture_session(i, part.stems[i])))
            else:
                tokens[i] = self._write_tokenizer(graph, spec.name, i, part.stems[i])
                windows.append(spec.name)
        onnx_fusion.write_fusion(graph, tokens, self._config, self._weights, self._lengths, units, self._gives_tokens)
        lean = self.device == "cpu" and all(map(_is_lean, (self._config.tokenizer[name] for name in (*windows, *dict(pictures)))))
        session = make_session(graph, self._threads, self._providers, self._shared, optimised=not lean)
        return FusionSession(session, tuple(windows), tuple(pictures))

    def run(self, compiled: FusionSession, inputs: Mapping[str, np.ndarray | PictureTokens]) -> BackendOutput:
        """See `Backend.run`."""
        feeds: dict[str, Any] = {name: inputs[name] for name in compiled.windows}
        for name, session in compiled.pictures:
            given = inputs[name]
            feeds[name + TOKENS], feeds[name + SEEN] = given if isinstance(given, PictureTokens) else session.run(given)
        wanted = [onnx_fusion.LOGITS, onnx_fusion.ATTENTION_SHARE]
        if self._gives_tokens:
            logits, share, *tokens = compiled.session.run([*wanted, onnx_fusion.STEM_TOKENS, onnx_fusion.FUSED_TOKENS], feeds)
            return BackendOutput(logits[0], share[0], FusedTokens(*tokens))
        logits, share = compiled.session.run(wanted, feeds)
        return BackendOutput(logits[0], share[0])

    def forget(self) -> None:
        """See `Backend.forget`."""
        for session in self._pictures.values():
            session.forget()

    def prime(self, inputs: Mapping[str, np.ndarray], newest: bool = False) -> None:
        """See `Backend.prime`."""
        for (place, _), session in self._pictures.items():
            if (name := self._config.names[place]) in inputs:
                if newest:
                    session.run(inputs[name])
                else:
                    session.prime(inputs[name])

    def _write_tokenizer(self, graph: OnnxGraph, name: str, place: int, size: int) -> onnx_tokenizers.TokenValues:
        spec = self._config.modalities[place]
        options = self._config.tokenizer[spec.name].at_size(size)
        weights = stem_weights(self._config, self._weights, place, size)
        if isinstance(options, PatchTokenizerConfig):
            return onnx_patches.picture_reader(graph, name, spec, options, weights)
        return self._builders[place](graph, name, spec, options, weights)

    def _picture_session(self, place: int, size: int) -> PictureSession:
        if (place, size) not in self._pictures:
            graph = OnnxGraph()
            for value, name in zip(self._write_tokenizer(graph, WINDOW, place, size), (TOKENS, SEEN)):
                graph.output(value, name)
            session = make_session(graph, self._threads, self._providers, self._shared)
            self._pictures[place, size] = PictureSession(session, self._whole_session(place, size))
        return self._pictures[place, size]

    def _whole_session(self, place: int, size: int) -> Any | None:
        """The session for pictures in which every pixel is valid; None where it would not be faster."""
        spec = self._config.modalities[place]
        options = self._config.tokenizer[spec.name].at_size(size)
        if self._builders[place] is not onnx_tokenizers.frame_tokenizer or not isinstance(options, FrameTokenizerConfig):
            return None
        if not onnx_tokenizers.gains_from_whole(options):
            return None
        graph, weights = OnnxGraph(), stem_weights(self._config, self._weights, place, size)
        graph.output(onnx_tokenizers.frame_tokenizer(graph, WINDOW, spec, options, weights, whole=True)[0], TOKENS)
        return make_session(graph, self._threads, self._providers, self._shared)


def _is_lean(options: TokenizerConfig) -> bool:
    """Whether what this tokeniser has in the graph of a plan gains nothing from ONNX Runtime's optimisations."""
    kept = isinstance(options, FrameTokenizerConfig) and options.keeps_tokens
    return kept or isinstance(options, SeriesTokenizerConfig)


def _builder(spec: ModalitySpec, options: TokenizerConfig) -> Callable[..., onnx_tokenizers.TokenValues]:
    builder = sensor_kind(spec.kind).stem(options.stem_name).onnx_builder()
    if builder is None:
        raise CheckpointError(
            f"model input {spec.name!r} of kind {spec.kind!r}",
            "a tokeniser in torch only",
            "one that can be written as an ONNX graph",
            "set backend to torch, or give the stem of the sensor kind one in `onnx`",
        )
    return builder


@dataclass(frozen=True, slots=True)
class _KeptToken:
    picture: np.ndarray
    token: np.ndarray
    seen: np.ndarray
    run: int  # in which it was made


class PictureSession:
    """Tokens of pictures that each make a token of their own. The older pictures of a window were the newest of an earlier
    one, so their tokens are kept instead of made again. The result is the same to the last bit."""

    def __init__(self, session: Any, whole: Any | None = None):
        """``whole``: a faster session for pictures in which every pixel is valid, that is, not zero in all channels."""
        self._session, self._whole = session, whole
        self._kept: dict[bytes, _KeptToken] = {}  # in the order in which they were made
        self._newest: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]] | None = None  # the newest window, and what was made of it
        self._runs = 0
        self._longest = 0  # runs after which a token was used again, at most

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (K, C, H, W), oldest first -> tokens (K, D), seen (K,): 1 where the picture holds any data."""
        newest = self._newest  # another thread may `forget` it at any time
        if newest is not None and window is newest[0] and not window.flags.writeable:
            return newest[1]  # a window that serves several predictions
        if len(window) == 1:
            return self._remember(window, self._tokens(window))
        self._runs += 1
        entries = [self._find(picture) or self._make(picture) for picture in window]
        self._longest = max(self._longest, *(self._runs - kept.run for kept in entries))
        # In a steady stream a picture comes back after always as many runs; until that is known, none is dropped early.
        kept_for = min(2 * self._longest, RUNS_KEPT) if self._longest > 1 else RUNS_KEPT
        for key in [key for key, kept in list(self._kept.items()) if self._runs - kept.run > kept_for]:
            self._kept.pop(key, None)
        tokens = np.stack([kept.token for kept in entries]), np.array([kept.seen for kept in entries], np.float32)
        return self._remember(window, tokens)

    def _remember(self, window: np.ndarray, tokens: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        self._newest = window, tokens
        return tokens

    def forget(self) -> None:
        """Drop all tokens."""
        self._kept.clear()
        self._newest = None

    def prime(self, window: np.ndarray) -> None:
        """Make and keep the tokens of all pictures but the newest."""
        for picture in window[:-1]:
            self._make(picture)

    def _tokens(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._whole is not None and pictures.any(1).all():
            (tokens,) = self._whole.run([TOKENS], {WINDOW: pictures})
            return tokens, np.ones(len(tokens), np.float32)
        tokens, seen = self._session.run([TOKENS, SEEN], {WINDOW: pictures})
        return tokens, seen

    def _find(self, picture: np.ndarray) -> _KeptToken | None:
        # The probe finds the only candidate; whether it is the same picture is decided by all of it.
        kept = self._kept.get(self._probe(picture))
        return kept if kept is not None and np.array_equal(kept.picture, picture) else None

    def _make(self, picture: np.ndarray) -> _KeptToken:
        # One picture at a time: in a batch of two the last bits of the sums differ, and a kept token would not be the same.
        tokens, seen = self._tokens(picture[np.newaxis])
        entry, key = _KeptToken(picture.copy(), tokens[0], seen[0], self._runs), self._probe(picture)
        self._kept.pop(key, None)  # so that the new one is behind all others
        self._kept[key] = entry
        return entry

    @staticmethod
    def _probe(picture: np.ndarray) -> bytes:
        return picture.reshape(-1)[::_PROBE_STRIDE].tobytes()
