"""Runs a checkpoint on ONNX Runtime, without torch: one session per tokeniser, and one per plan.

Weights are sliced in numpy and graphs are written directly (`onnx_tokenizers`, `onnx_fusion`): nothing is traced or exported,
so a plan is ready within milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

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
from .onnx_session import CPU, BoundSession, SharedWeights, bound_arrays, bound_session, make_session
from .picture_session import TOKENS, WINDOW, PictureSession
from .plan_inputs import MOTION, PictureInput, PlanInput, SeriesInput, WindowInput


class FusionSession:
    """The session of one plan, with the arrays that it reads and writes. Tokenisers that keep nothing from one window to the
    next are part of it; those of pictures have sessions of their own, which plans with the same stem share."""

    def __init__(self, session: Any, inputs: Sequence[PlanInput], outputs: Mapping[str, Sequence[int]], bound: bool):
        """``outputs``: shapes by name, in the order of `write_fusion`. ``bound``: whether the session reads and writes the arrays
        where they are, as it can on the CPU."""
        self.session, self.inputs = session, tuple(inputs)
        self.emptiness = np.zeros((1, sum(given.tokens for given in inputs)), np.float32)
        self.arrays = {name: array for given in inputs for name, array in given.arrays.items()}
        self.arrays[onnx_fusion.EMPTINESS] = self.emptiness
        self.results = [np.zeros(shape, np.float32) for shape in outputs.values()]
        self._names, self._has_empty = tuple(outputs), False
        self._bound: BoundSession | None = None
        if bound:
            self._bound = bound_session(session, bound_arrays(session, self.arrays, dict(zip(outputs, self.results))))

    @property
    def pictures(self) -> tuple[PictureSession, ...]:
        """The sessions of its pictures."""
        return tuple(given.pictures for given in self.inputs if isinstance(given, PictureInput))

    def take(self, windows: Mapping[str, np.ndarray | PictureTokens]) -> None:
        """Put a window of every input into the arrays."""
        seen = [given.take(windows[given.name]) for given in self.inputs]
        if any(tokens is not None for tokens in seen):
            parts = (np.ones(given.tokens, bool) if here is None else here for given, here in zip(self.inputs, seen))
            self.emptiness[0] = np.where(np.concatenate(list(parts)), 0, onnx_fusion.EMPTY)
            self._has_empty = True
        elif self._has_empty:
            self.emptiness[...] = 0
            self._has_empty = False

    def run(self) -> Sequence[np.ndarray]:
        """Of what is in the arrays now: the outputs, which the next run may overwrite."""
        if self._bound is None:
            return cast("list[np.ndarray]", self.session.run(self._names, self.arrays))
        self._bound.run()
        return self.results


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
        self._inputs: dict[tuple[int, int], PlanInput] = {}  # by place of the sensor and size of its stem; plans share them
        self._pictures: dict[tuple[int, int], PictureSession] = {}  # likewise
        self._builders = [_builder(spec, self._config.tokenizer[spec.name]) for spec in self._config.modalities]

    def compile(self, part: Subnetwork, units: Sequence[SiteKeep]) -> FusionSession:
        """Write the plan's graph and make its session, and those of its pictures that no earlier plan had."""
        graph, tokens, inputs = OnnxGraph(), {}, []
        for i, spec in enumerate(self._config.modalities):
            if not part.used[i]:
                continue
            given, options = self._input(i, part.stems[i]), self._config.tokenizer[spec.name]
            if not options.keeps_tokens:
                tokens[i] = self._write_tokenizer(graph, spec.name, i, part.stems[i])
            else:
                tokens[i] = graph.input(spec.name, [spec.shape[0], self._config.d_model])
                if isinstance(options, PatchTokenizerConfig):
                    shape = [self._lengths[i], options.motion_steps * self._config.d_model]
                    weights = stem_weights(self._config, self._weights, i, part.stems[i])
                    around = graph.input(spec.name + MOTION, shape)
                    tokens[i] = onnx_patches.in_motion(graph, tokens[i], around, spec, options, weights)
            inputs.append(given)
        outputs = onnx_fusion.write_fusion(graph, tokens, self._config, self._weights, self._lengths, units, self._gives_tokens)
        on_cpu = self.device == "cpu"
        lean = on_cpu and all(_is_lean(self._config.tokenizer[given.name]) for given in inputs)
        session = make_session(graph, self._threads, self._providers, self._shared, optimised=not lean)
        return FusionSession(session, inputs, outputs, bound=on_cpu)

    def run(self, compiled: FusionSession, inputs: Mapping[str, np.ndarray | PictureTokens]) -> BackendOutput:
        """See `Backend.run`."""
        compiled.take(inputs)
        logits, share, *tokens = compiled.run()
        fused = FusedTokens(*(array.copy() for array in tokens)) if tokens else None
        return BackendOutput(logits[0].copy(), share[0].copy(), fused)

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

    def _write_tokenizer(self, graph: OnnxGraph, name: str, place: int, size: int) -> str:
        spec = self._config.modalities[place]
        options = self._config.tokenizer[spec.name].at_size(size)
        weights = stem_weights(self._config, self._weights, place, size)
        return self._builders[place](graph, name, spec, options, weights)

    def _input(self, place: int, size: int) -> PlanInput:
        if (place, size) not in self._inputs:
            spec = self._config.modalities[place]
            options, tokens = self._config.tokenizer[spec.name].at_size(size), self._lengths[place]
            given: PlanInput
            if options.keeps_tokens:
                given = PictureInput(spec, options, tokens, self._config.d_model, self._picture_session(place, size))
            elif isinstance(options, SeriesTokenizerConfig):
                given = SeriesInput(spec, options)
            else:
                given = WindowInput(spec, options, tokens)
            self._inputs[place, size] = given
        return self._inputs[place, size]

    def _picture_session(self, place: int, size: int) -> PictureSession:
        if (place, size) not in self._pictures:
            self._pictures[place, size] = PictureSession(
                lambda: self._any_session(place, size),
                self._config.tokenizer[self._config.names[place]].at_size(size),
                self._whole_session(place, size),
            )
        return self._pictures[place, size]

    def _any_session(self, place: int, size: int) -> Any:
        """The session for any picture."""
        graph = OnnxGraph()
        graph.output(self._write_tokenizer(graph, WINDOW, place, size), TOKENS)
        # Nothing is shared: ONNX Runtime lays the weights of these convolutions out anew, and would keep shared ones besides.
        return make_session(graph, self._threads, self._providers)

    def _whole_session(self, place: int, size: int) -> Any | None:
        """The session for pictures in which every pixel is valid; None where it would not be faster."""
        spec = self._config.modalities[place]
        options = self._config.tokenizer[spec.name].at_size(size)
        if self._builders[place] is not onnx_tokenizers.frame_tokenizer or not isinstance(options, FrameTokenizerConfig):
            return None
        if not onnx_tokenizers.gains_from_whole(options):
            return None
        graph, weights = OnnxGraph(), stem_weights(self._config, self._weights, place, size)
        graph.output(onnx_tokenizers.frame_tokenizer(graph, WINDOW, spec, options, weights, whole=True), TOKENS)
        return make_session(graph, self._threads, self._providers)


def _is_lean(options: TokenizerConfig) -> bool:
    """Whether what this tokeniser has in the graph of a plan gains nothing from ONNX Runtime's optimisations."""
    kept = isinstance(options, FrameTokenizerConfig) and options.keeps_tokens
    return kept or isinstance(options, SeriesTokenizerConfig)


def _builder(spec: ModalitySpec, options: TokenizerConfig) -> Callable[..., str]:
    builder = sensor_kind(spec.kind).stem(options.stem_name).onnx_builder()
    if builder is None:
        raise CheckpointError(
            f"model input {spec.name!r} of kind {spec.kind!r}",
            "a tokeniser in torch only",
            "one that can be written as an ONNX graph",
            "set backend to torch, or give the stem of the sensor kind one in `onnx`",
        )
    return builder
