"""Runs a network in torch, on the CPU or on CUDA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..model.backbones import stack_streams
from ..model.block import SiteWeights
from ..model.fuse import SentryFuse
from ..pruning.slicing import slice_weights
from ..pruning.units import SiteKeep
from .backend import BackendOutput


@dataclass(frozen=True, slots=True)
class SlicedNetwork:
    """The sensors of a plan (M,) and the weights of its sites."""

    used: tuple[bool, ...]
    weights: list[SiteWeights]


class TorchBackend:
    """Forward passes of a `SentryFuse`."""

    name = "torch"

    def __init__(self, model: SentryFuse, device: str = "cpu", threads: int = 1):
        """``threads`` is torch's number of intra-op threads, which holds for the whole process."""
        torch.set_num_threads(threads)
        self._device = torch.device(device)
        self.device = self._device.type
        self.model = model.to(self._device).eval().requires_grad_(False)

    def compile(self, used: Sequence[bool], units: Sequence[SiteKeep]) -> SlicedNetwork:
        """Slice the weights; streams of one shape are stacked, so that they run at once."""
        return SlicedNetwork(tuple(used), stack_streams(self.model.backbone, slice_weights(self.model, units)))

    def forget(self) -> None:
        """Nothing is kept from one window to the next."""

    def prime(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Nothing is kept from one window to the next."""

    @torch.inference_mode()
    def run(self, compiled: SlicedNetwork, inputs: Mapping[str, np.ndarray]) -> BackendOutput:
        """See `Backend.run`."""
        names = (name for name, here in zip(self.model.config.names, compiled.used) if here)
        tensors = {name: torch.from_numpy(inputs[name]).to(self._device).unsqueeze(0) for name in names}
        out = self.model.fuse(self.model.tokens(tensors, compiled.used), compiled.weights)
        return BackendOutput(out.logits[0].float().cpu().numpy(), out.attention_share[0].float().cpu().numpy())
