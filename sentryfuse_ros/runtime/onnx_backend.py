"""Runs a checkpoint on ONNX Runtime, without torch: one session per tokeniser, and one per plan.

Weights are sliced in numpy and graphs are written directly (`onnx_tokenizers`, `onnx_fusion`): nothing is traced or exported,
so a plan is ready within milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import CheckpointError
from ..model.checkpoint import Checkpoint
from ..model.subnetwork import Subnetwork
from ..model.tensor_shapes import token_counts
from ..model.tokenizer_config import FrameTokenizerConfig, leading_weights
from ..preprocessing import ModalitySpec
from ..pruning.units import SiteKeep
from ..sensor_kinds import sensor_kind
from . import onnx_fusion, onnx_tokenizers
from .backend import BackendOutput
from .onnx_graph import OnnxGraph

PICTURES_KEPT = 64  # tokens of earlier pictures; a window of 2 s at 10 predictions a second meets 20
_PROBE_STRIDE = 997  # every so many-th number of a picture makes the key under which its token is looked up


@dataclass(frozen=True, slots=True)
class FusionSession:
    """The session of one plan, and its tokenisers by the names of their inputs; plans with the same stem share its tokeniser."""

    session: Any
    tokenizers: tuple[tuple[str, TokenizerSession], ...]


class OnnxBackend:
    """Forward passes of a checkpoint at batch size 1."""

    name = "onnxruntime"

    def __init__(self, checkpoint: Checkpoint, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)):
        """``providers``: ONNX Runtime's execution providers, the preferred one first.

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
        self.device = "cpu" if self._providers[0] == "CPUExecutionProvider" else "cuda"
        self._tokenizers: dict[tuple[int, int], TokenizerSession] = {}  # by place of the sensor and size of its stem
        self._builders = [_builder(spec) for spec in checkpoint.config.modalities]

    def compile(self, part: Subnetwork, units: Sequence[SiteKeep]) -> FusionSession:
        """Write the plan's graph and make its session, and those of its tokenisers that no earlier plan had."""
        stems = tuple((i, size) for i, (here, size) in enumerate(zip(part.used, part.stems)) if here)
        for stem in stems:
            if stem not in self._tokenizers:
                self._tokenizers[stem] = self._make_tokenizer(*stem)
        graph = onnx_fusion.fusion_graph(self._config, self._weights, self._lengths, part.used, units)
        return FusionSession(self._session(graph), tuple((self._config.names[i], self._tokenizers[i, size]) for i, size in stems))

    def run(self, compiled: FusionSession, inputs: Mapping[str, np.ndarray]) -> BackendOutput:
        """See `Backend.run`."""
        parts = [tokenizer.run(inputs[name]) for name, tokenizer in compiled.tokenizers]
        tokens = parts[0][0] if len(parts) == 1 else np.concatenate([part[0] for part in parts])
        seen = parts[0][1] if len(parts) == 1 else np.concatenate([part[1] for part in parts])
        feeds = {onnx_fusion.TOKENS: tokens, onnx_fusion.SEEN: seen}
        logits, share = compiled.session.run([onnx_fusion.LOGITS, onnx_fusion.ATTENTION_SHARE], feeds)
        return BackendOutput(logits[0], share[0])

    def forget(self) -> None:
        """See `Backend.forget`."""
        for tokenizer in self._tokenizers.values():
            tokenizer.forget()

    def prime(self, inputs: Mapping[str, np.ndarray]) -> None:
        """See `Backend.prime`."""
        for (place, _), tokenizer in self._tokenizers.items():
            if (name := self._config.names[place]) in inputs:
                tokenizer.prime(inputs[name])

    def _session(self, graph: OnnxGraph) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.enable_cpu_mem_arena = False  # each session's own would hold memory that no run needs; it makes nothing faster
        options.log_severity_level = 3  # errors only: what it warns about are its own optimisations
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would eat a core
        try:
            return onnxruntime.InferenceSession(graph.serialize(), options, providers=self._providers)
        except Exception as error:  # its errors have no class of their own in common
            raise CheckpointError(
                "the model's graph in ONNX Runtime", str(error), "a graph that it can run", "set backend to torch"
            ) from error

    def _make_tokenizer(self, place: int, size: int) -> TokenizerSession:
        spec = self._config.modalities[place]
        prefix, options = f"tokenizers.{place}.", self._config.tokenizer[spec.name].at_size(size)
        weights = {name[len(prefix) :]: w for name, w in self._weights.items() if name.startswith(prefix)}
        weights = leading_weights(weights, options.tensor_shapes(spec, self._config.d_model))
        session = self._session(self._builders[place](spec, options, weights))
        if isinstance(options, FrameTokenizerConfig) and options.frames_per_token == 1 and options.motion == "none":
            return PictureSession(session)
        return WindowSession(session)


def _builder(spec: ModalitySpec) -> Callable[..., OnnxGraph]:
    builder = sensor_kind(spec.kind).onnx_tokenizer_builder()
    if builder is None:
        raise CheckpointError(
            f"model input {spec.name!r} of kind {spec.kind!r}",
            "a tokeniser in torch only",
            "one that can be written as an ONNX graph",
            "set backend to torch, or give the sensor kind an onnx_tokenizer",
        )
    return builder


class TokenizerSession(Protocol):
    """Makes the tokens of one model input."""

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(*spec.shape) -> tokens (N, D), seen (N,): 1 where a token saw any data."""
        ...

    def forget(self) -> None:
        """See `Backend.forget`."""
        ...

    def prime(self, window: np.ndarray) -> None:
        """See `Backend.prime`."""
        ...


class WindowSession:
    """Tokens of a window as a whole."""

    def __init__(self, session: Any):
        self._session = session

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `TokenizerSession.run`."""
        tokens, seen = self._session.run([onnx_tokenizers.TOKENS, onnx_tokenizers.SEEN], {onnx_tokenizers.WINDOW: window})
        return tokens, seen

    def forget(self) -> None:
        """Nothing is kept."""

    def prime(self, window: np.ndarray) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class _KeptToken:
    picture: np.ndarray
    token: np.ndarray
    seen: np.ndarray


class PictureSession:
    """Tokens of pictures that each make a token of their own. The older pictures of a window were the newest of an earlier
    one, so their tokens are kept instead of made again. The result is the same to the last bit."""

    def __init__(self, session: Any):
        self._tokens = WindowSession(session).run
        self._kept: dict[bytes, _KeptToken] = {}
        self._order: deque[bytes] = deque()

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `TokenizerSession.run`."""
        if len(window) == 1:
            return self._tokens(window)
        entries = [self._find(picture) or self._make(picture) for picture in window]
        return np.stack([kept.token for kept in entries]), np.array([kept.seen for kept in entries], np.float32)

    def forget(self) -> None:
        """Drop all tokens."""
        self._kept.clear()
        self._order.clear()

    def prime(self, window: np.ndarray) -> None:
        """Make and keep the tokens of all pictures but the newest."""
        for picture in window[:-1]:
            self._make(picture)

    def _find(self, picture: np.ndarray) -> _KeptToken | None:
        # The probe finds the only candidate; whether it is the same picture is decided by all of it.
        kept = self._kept.get(self._probe(picture))
        return kept if kept is not None and np.array_equal(kept.picture, picture) else None

    def _make(self, picture: np.ndarray) -> _KeptToken:
        # One picture at a time: in a batch of two the last bits of the sums differ, and a kept token would not be the same.
        tokens, seen = self._tokens(picture[np.newaxis])
        entry, key = _KeptToken(picture.copy(), tokens[0], seen[0]), self._probe(picture)
        if key not in self._kept:
            self._order.append(key)
            if len(self._order) > PICTURES_KEPT:
                del self._kept[self._order.popleft()]
        self._kept[key] = entry
        return entry

    @staticmethod
    def _probe(picture: np.ndarray) -> bytes:
        return picture.reshape(-1)[::_PROBE_STRIDE].tobytes()
