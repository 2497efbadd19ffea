"""From a checkpoint to predictions: one plan per modality mask and ratio level, run on one window at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError, ParameterError
from ..model.checkpoint import Checkpoint, read_checkpoint
from ..model.subnetwork import Mask, Subnetwork, whole_stems
from ..preprocessing import ModalitySpec, empty_input
from ..preprocessing.picture_window import KnownPictures, PictureWindow
from ..pruning.cost import picture_flops, plan_flops, plan_params
from ..pruning.levels import level_for
from ..pruning.planner import Choices, PlanChoice
from ..pruning.units import SiteKeep
from ..sensing.trust_table import usable_tables
from .backend import Backend, PictureTokens
from .backends import load_backend
from .compiled_plans import CompiledPlans, plan_temperature
from .inference import Inference, checked_input, no_inference, sanitised_input, softmax

if TYPE_CHECKING:  # training and evaluation only: a robot runs without torch
    from ..model.fuse import SentryFuse
    from ..streaming.model_streams import ModelStreams  # with OpenCV, which a model without a camera does not need
    from ..streaming.streamed_input import StreamUse


class Engine:
    """Runs a network at batch size 1. Any thread may call it, but only one at a time."""

    def __init__(self, checkpoint: Checkpoint, backend: Backend):
        self.checkpoint, self.backend = checkpoint, backend
        self.info = dict(checkpoint.info)
        self.backend_ms: dict[str, float] = {}  # measured time by backend, where the backend was chosen by it
        self.trust_tables = usable_tables(checkpoint.trust, f"trust file of model {self.name!r}", self.specs)
        self._plans = CompiledPlans(checkpoint, backend)
        self._choices: Choices = {}
        self._prepared: tuple[Mask, float] | None = None  # where `prepare` was asked for last
        self._unprepared: list[PlanChoice] = []  # what is still missing there
        self._streams: ModelStreams | None = None
        self._sound: dict[str, np.ndarray] = {}  # by input, the window that was given last, as it was run

    @classmethod
    def load(
        cls, path: str | Path, device: str = "cpu", threads: int = 1, backend: str = "auto", gives_tokens: bool = False
    ) -> Engine:
        """Load a model folder or .safetensors file. Raises CheckpointError.

        ``device``: cpu, cuda, or auto, which takes CUDA if it is available. ``backend`` and ``gives_tokens``: see
        `backends.load_backend`.
        """
        checkpoint = read_checkpoint(path)
        try:
            return cls(checkpoint, load_backend(checkpoint, backend, device, threads, gives_tokens))
        except (RuntimeError, AssertionError) as error:  # torch asserts for CUDA when it was built without
            raise CheckpointError(
                f"model {path} on device {device!r}", str(error), "a device that can be used", "set device to cpu"
            ) from error

    @classmethod
    def from_model(
        cls, model: SentryFuse, info: Mapping[str, Any] | None = None, device: str = "cpu", threads: int = 1
    ) -> Engine:
        """Run a network that is in memory, in torch. ``info``: what its checkpoint would say of it."""
        from ..model.saved import checkpoint_of
        from .torch_backend import TorchBackend

        return cls(checkpoint_of(model, info), TorchBackend(model, device, threads))

    def network(self) -> SentryFuse:
        """The network in torch, for work on many windows at once; imports torch."""
        from ..model.saved import network_of
        from .torch_backend import TorchBackend

        return self.backend.model if isinstance(self.backend, TorchBackend) else network_of(self.checkpoint)

    @property
    def name(self) -> str:
        """The model's name in its checkpoint, "" without one."""
        return str(self.info.get("name", ""))

    @property
    def runs_on(self) -> str:
        """The library that runs the model, where, and the times that it was chosen by, if it was."""
        times = ", ".join(f"{name} {ms:.2f} ms" for name, ms in self.backend_ms.items())
        return f"{self.backend.name} on {self.backend.device}" + (f", measured: {times}" if times else "")

    @property
    def specs(self) -> tuple[ModalitySpec, ...]:
        """Model inputs in mask order."""
        return self.checkpoint.config.modalities

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the model inputs in mask order."""
        return self.checkpoint.config.names

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self.checkpoint.config.classes

    @property
    def ratio_levels(self) -> tuple[float, ...]:
        """Pruning ratios that the model has plans for, ascending from 0."""
        return self.checkpoint.config.ratio_levels

    def quantise(self, ratio: float) -> float:
        """The level that a ratio runs at: the smallest that prunes at least as much, or the highest (`pruning.levels`).

        Raises ParameterError for a negative ratio and NaN.
        """
        if not ratio >= 0.0:  # also catches NaN
            raise ParameterError("pruning ratio", ratio, "0 to 0.9", "choose a ratio in this range")
        return level_for(ratio, self.ratio_levels)

    def choose(self, choices: Choices) -> None:
        """Say which subnetwork each (live mask, ratio level) runs on (`pruning.planner`). Without a choice, it is the whole
        stems and all layers of all live sensors, with the units of the level."""
        self._choices, self._prepared = dict(choices), None

    @property
    def budget(self) -> str:
        """What a ratio is a share of: "time" where plans were chosen by their measured time, else "flops"."""
        return "time" if self._choices else "flops"

    def choice(self, mask: Sequence[bool], ratio: float) -> PlanChoice:
        """The subnetwork that a mask (M,) with a live sensor runs on at a ratio."""
        live, level = tuple(bool(m) for m in mask), self.quantise(ratio)
        return self._choices.get((live, level)) or PlanChoice(whole_stems(self.checkpoint.config, live, level))

    def neighbours(self, mask: Sequence[bool], ratio: float) -> list[PlanChoice]:
        """The plans that one change may lead to from a mask with a live sensor and a ratio: of the masks with one sensor more or
        less at this level, and of all levels with these sensors. The plan in force comes first, and each comes once."""
        live, level = tuple(bool(m) for m in mask), self.quantise(ratio)
        masks = [tuple(m != (i == k) for i, m in enumerate(live)) for k in range(len(live))]
        places = [(live, level), *((m, level) for m in masks if any(m)), *((live, r) for r in self.ratio_levels)]
        return list({choice.part: choice for choice in (self.choice(*place) for place in places)}.values())

    def stream(self, wanted: str, threads: int = 1) -> tuple[str, ...]:
        """Take the pictures of some inputs as streams (`streaming.streamed_input`): ``wanted`` is auto, on or off. Their windows
        are then given as PictureWindow. Returns the names of these inputs; none with a backend that does not take tokens.

        Raises ParameterError where the checkpoint's section is wrong.
        """
        self._streams = None
        if self.backend.takes_tokens and self.checkpoint.info.get("streaming") and wanted != "off":
            from ..streaming.model_streams import model_streams

            self._streams = model_streams(self.checkpoint, wanted, threads)
        return self._streams.names if self._streams is not None else ()

    @property
    def known_pictures(self) -> KnownPictures:
        """By input that streams: how far its stream knows the pictures of a source. Any thread may ask."""
        return self._streams.known if self._streams is not None else {}

    def prepare(self, mask: Sequence[bool], ratio: float) -> bool:
        """Compile one of the `neighbours` that are not there yet and run it once, so that the change to it is not slow.

        Returns whether there was one. For the time between two inferences; it never changes an answer.
        """
        here = tuple(bool(m) for m in mask), self.quantise(ratio)
        if here != self._prepared:
            self._prepared, self._unprepared = here, []
            for choice in self.neighbours(*here):
                if choice.part in self._plans:
                    self._plans.use(choice.part)
                else:
                    self._unprepared.append(choice)
        if not self._unprepared:
            return False
        self.run(self._unprepared.pop(0), {spec.name: empty_input(spec) for spec in self.specs})
        return True

    def warm(self, mask: Sequence[bool] | None = None, ratio: float = 0.0) -> float:
        """Prepare all `neighbours` of a mask, by default of all sensors; returns the time it took [s].

        Any other plan is compiled when it is first needed, which takes some milliseconds, or by `prepare` before that.
        """
        started = time.perf_counter()
        while self.prepare((True,) * len(self.modalities) if mask is None else mask, ratio):
            pass
        return time.perf_counter() - started

    def reset(self) -> None:
        """Forget what is kept of earlier windows, as after a jump of the clock. Any thread may call it for the streams."""
        self.backend.forget()
        if self._streams is not None:
            self._streams.reset()

    def prime(self, inputs: Mapping[str, np.ndarray], newest: bool = False) -> None:
        """Bring the backend to where a stream would have it before this window: the tokens of all but its newest pictures
        are kept, or of all of them with ``newest``. For measuring what one more window costs."""
        self.backend.forget()
        self.backend.prime({name: sanitised_input(x) for name, x in inputs.items()}, newest)

    def infer(self, inputs: Mapping[str, np.ndarray | PictureWindow], mask: np.ndarray, ratio: float) -> Inference:
        """Run one window: ``inputs[name]`` has the shape ``spec.shape`` for every sensor that `choice` uses, or is the
        PictureWindow of an input that streams. An array that nobody can write to, given again, is known to be the same.

        Never returns NaN. Raises ParameterError for a missing input, a wrong shape, or a negative ratio.
        """
        started = time.perf_counter()
        level = self.quantise(ratio)
        live = tuple(bool(m) for m in mask)
        if len(live) != len(self.modalities):
            raise ParameterError("modality mask", len(live), f"{len(self.modalities)} entries: {self.modalities}")
        if not any(live):
            return no_inference(self.classes, len(self.modalities), level, started)
        return self.run(self.choice(live, level), inputs, level)

    def run(self, choice: PlanChoice, inputs: Mapping[str, np.ndarray | PictureWindow], level: float = 0.0) -> Inference:
        """Run one window on a given plan; ``level`` is the ratio level that the result names. See `infer`."""
        started = time.perf_counter()
        plan = self._plans.use(choice.part)
        uses: dict[str, StreamUse] = {}
        windows: dict[str, np.ndarray | PictureTokens] = {}
        for spec in plan.inputs:
            given = inputs.get(spec.name)
            if isinstance(given, PictureWindow):
                windows[spec.name] = self._streamed(given, spec.name, choice.part, level, uses)
            elif given is not None and given is self._sound.get(spec.name) and not given.flags.writeable:
                windows[spec.name] = given  # it serves several predictions, and was looked at for the first of them
            else:
                windows[spec.name] = self._sound[spec.name] = sanitised_input(checked_input(spec, given))
        out = self.backend.run(plan.compiled, windows)
        flops = plan.flops
        if choice.shared_by > 1:
            flops -= round(plan.picture_flops * (1.0 - 1.0 / choice.shared_by))
        if uses:
            flops += round(sum(use.flops - use.window_flops for use in uses.values()))
        logits = out.logits.tolist()
        # Inputs are clamped and weights are checked, so only an overflow makes this sum NaN or infinite.
        if not math.isfinite(sum(logits)):
            return no_inference(self.classes, len(self.modalities), level, started)
        shares = softmax(logits, plan.temperature)
        probabilities = np.array(shares, np.float32)
        best = shares.index(max(shares))
        confidence = float(probabilities[best])
        if self._streams is not None and uses:  # not of a run that only prepares a plan
            self._streams.confidence = confidence
        return Inference(
            probabilities,
            best,
            self.classes[best],
            confidence,
            out.attention_share / max(sum(out.attention_share.tolist()), 1e-9),
            plan.used,
            level,
            flops,
            plan.params,
            time.perf_counter() - started,
            choice.part,
            out.tokens,
            uses,
        )

    def _streamed(
        self, window: PictureWindow, name: str, part: Subnetwork, level: float, uses: dict[str, StreamUse]
    ) -> PictureTokens:
        """The tokens of a window of pictures; what its stream did is noted in ``uses``."""
        if self._streams is None:
            raise ParameterError(f"model input {name!r}", "pictures of a stream", "a window", "call `stream` first")
        sound = window._replace(new=sanitised_input(window.new))
        tokens, seen, use = self._streams.take(name, sound, level, part.stems[self.modalities.index(name)])
        if use is not None:
            uses[name] = use
        return PictureTokens(tokens, seen)

    def units(self, choice: PlanChoice) -> list[SiteKeep]:
        """The units that a choice keeps, by the gate's scores for the sensors it uses."""
        return self._plans.units(choice.part)

    def temperature(self, part: Subnetwork) -> float:
        """What the logits of a subnetwork are divided by to be calibrated; 1 where training fitted none."""
        return plan_temperature(self.checkpoint, part)

    @property
    def dense_ms(self) -> float | None:
        """Measured time of one inference of the dense network with all sensors [ms]; None if the budget is in FLOPs."""
        return self.choice((True,) * len(self.modalities), 0.0).cost_ms

    def flops(self, choice: PlanChoice) -> int:
        """FLOPs of one inference of a choice, on average over those that share a picture; a multiply-add counts as 2."""
        config, part = self.checkpoint.config, choice.part
        whole = plan_flops(config, part, [keep.budget for keep in self.units(choice)])
        return whole - round(picture_flops(config, part) * (1.0 - 1.0 / choice.shared_by))

    def params(self, choice: PlanChoice) -> int:
        """Parameters that a choice reads."""
        return plan_params(self.checkpoint.config, choice.part, [keep.budget for keep in self.units(choice)])
