"""From a checkpoint to predictions: one sliced network per modality mask and ratio level, run on one window at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import CheckpointError, ParameterError
from ..masks import mask_to_bits
from ..model.backbones import stack_streams
from ..model.block import SiteWeights
from ..model.checkpoint import load_checkpoint
from ..model.fuse import SentryFuse
from ..preprocessing import ModalitySpec, empty_input
from ..pruning.cost import backbone_flops, count_params, fixed_flops
from ..pruning.levels import level_for
from ..pruning.slicing import choose_plan, slice_weights


@dataclass(frozen=True, slots=True)
class Inference:
    """One prediction and what it cost.

    probabilities: (C,) float32, calibrated, they sum to 1. attention_share: (M,) float32, the share of the evidence drawn
    from each model input, 0 for an absent one; the shares sum to 1. Without a live sensor the probabilities are uniform,
    class_id is -1, confidence 0, and all shares are 0.
    """

    probabilities: np.ndarray
    class_id: int
    class_name: str
    confidence: float
    attention_share: np.ndarray
    ratio: float  # the level in force
    flops: int  # of the whole forward pass with tokenisers; a multiply-add counts as 2
    params: int  # parameters that this plan reads
    duration_s: float


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """The sliced weights that one mask and ratio level run on, with their calibration and cost."""

    weights: list[SiteWeights]
    inverse_temperature: float
    flops: int
    params: int


class Engine:
    """Runs a `SentryFuse` at batch size 1. Any thread may call it, but only one at a time."""

    def __init__(self, model: SentryFuse, info: Mapping[str, Any] | None = None, device: str = "cpu", threads: int = 1):
        """``info``: what the checkpoint says of the model. ``threads``: torch's intra-op threads, set for the whole process."""
        if threads < 1:
            raise ParameterError("engine threads", threads, "1 or more")
        torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.info = dict(info or {})
        self._plans: dict[tuple[tuple[bool, ...], float], CompiledPlan] = {}
        self._fixed_flops: dict[tuple[bool, ...], int] = {}  # by mask

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu", threads: int = 1) -> Engine:
        """Load a model folder or .safetensors file; device "auto" takes CUDA if it is available. Raises CheckpointError."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        model, info = load_checkpoint(path)
        try:
            return cls(model, info, device, threads)
        except (RuntimeError, AssertionError) as error:  # torch asserts for CUDA when it was built without
            raise CheckpointError(
                f"model {path} on device {device!r}", str(error), "a device that torch can use", "set device to cpu"
            ) from error

    @property
    def name(self) -> str:
        """The model's name in its checkpoint, "" without one."""
        return str(self.info.get("name", ""))

    @property
    def specs(self) -> tuple[ModalitySpec, ...]:
        """Model inputs in mask order."""
        return self.model.config.modalities

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the model inputs in mask order."""
        return self.model.config.names

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self.model.config.classes

    @property
    def ratio_levels(self) -> tuple[float, ...]:
        """Pruning ratios that the model has plans for, ascending from 0."""
        return self.model.config.ratio_levels

    def quantise(self, ratio: float) -> float:
        """The level that a ratio runs at: the smallest that prunes at least as much, or the highest (`pruning.levels`).

        Raises ParameterError for a negative ratio and NaN.
        """
        if not ratio >= 0.0:  # also catches NaN
            raise ParameterError("pruning ratio", ratio, "0 to 0.9")
        return level_for(ratio, self.ratio_levels)

    def warm(self, masks: Iterable[Sequence[bool]] | None = None, ratios: Iterable[float] | None = None) -> float:
        """Build plans and run each once, so that no later change is slow; returns the time it took [s].

        By default these are the plans of all masks with up to two sensors missing, at every level.
        """
        started = time.perf_counter()
        if masks is None:
            count = len(self.modalities)
            masks = [
                tuple(i not in gone for i in range(count))
                for missing in range(min(2, count - 1) + 1)
                for gone in combinations(range(count), missing)
            ]
        levels = [self.quantise(r) for r in (self.ratio_levels if ratios is None else ratios)]
        blank = {spec.name: empty_input(spec) for spec in self.specs}
        for mask in masks:
            for level in levels:
                self.infer(blank, np.asarray(mask, bool), level)
        return time.perf_counter() - started

    def infer(self, inputs: Mapping[str, np.ndarray], mask: np.ndarray, ratio: float) -> Inference:
        """Run one window: ``inputs[name]`` has the shape ``spec.shape`` for every set bit of ``mask`` (M,).

        Never returns NaN. Raises ParameterError for a missing input, a wrong shape, or a negative ratio.
        """
        started = time.perf_counter()
        level = self.quantise(ratio)
        live = tuple(bool(m) for m in mask)
        if len(live) != len(self.modalities):
            raise ParameterError("modality mask", len(live), f"{len(self.modalities)} entries: {self.modalities}")
        if not any(live):
            return self._nothing(level, started)
        with torch.inference_mode():
            tensors = {spec.name: self._tensor(spec, inputs) for spec, here in zip(self.specs, live) if here}
            plan = self._plan(live, level)
            out = self.model.fuse(self.model.tokens(tensors, live), plan.weights)
            scores = torch.softmax(out.logits[0].double() * plan.inverse_temperature, 0).float().cpu().numpy()
            use = out.attention_share[0].float().cpu().numpy()
        if not np.isfinite(scores).all():  # inputs are clamped and weights are checked, so only an overflow leads here
            return self._nothing(level, started)
        best = int(scores.argmax())
        return Inference(
            scores,
            best,
            self.classes[best],
            float(scores[best]),
            use / max(float(use.sum()), 1e-9),
            level,
            plan.flops,
            plan.params,
            time.perf_counter() - started,
        )

    def _tensor(self, spec: ModalitySpec, inputs: Mapping[str, np.ndarray]) -> torch.Tensor:
        value = inputs.get(spec.name)
        if value is None or value.shape != spec.shape:
            raise ParameterError(
                f"model input {spec.name!r}",
                None if value is None else value.shape,
                spec.shape,
                "pass an input for every modality whose mask bit is set",
            )
        tensor = torch.from_numpy(np.ascontiguousarray(value, np.float32)).to(self.device)
        # Normalised inputs lie within a few tens. Larger values come from a broken sensor, and NaN must not spread.
        return torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0).clamp_(-1e3, 1e3).unsqueeze(0)

    def _plan(self, live: tuple[bool, ...], level: float) -> CompiledPlan:
        plan = self._plans.get((live, level))
        if plan is None:
            weights = slice_weights(self.model, choose_plan(self.model, live, level))
            weights = stack_streams(self.model.backbone, weights)
            if live not in self._fixed_flops:
                self._fixed_flops[live] = fixed_flops(self.model, live)
            flops = self._fixed_flops[live] + backbone_flops(self.model, live, weights)
            plan = CompiledPlan(
                weights=weights,
                inverse_temperature=1.0 / self._temperature(live, level),
                flops=flops,
                params=count_params(self.model, live, weights),
            )
            self._plans[(live, level)] = plan
        return plan

    def _temperature(self, live: tuple[bool, ...], level: float) -> float:
        row = self.info.get("temperatures", {}).get(mask_to_bits(live))
        return float(row[self.ratio_levels.index(level)]) if row else 1.0

    def _nothing(self, level: float, started: float) -> Inference:
        classes = len(self.classes)
        return Inference(
            np.full(classes, 1.0 / classes, np.float32),
            -1,
            "",
            0.0,
            np.zeros(len(self.modalities), np.float32),
            level,
            0,
            0,
            time.perf_counter() - started,
        )
