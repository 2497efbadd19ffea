"""Runs a network in torch: on the CPU operation by operation, on CUDA with one graph of operations per plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..model.backbones import stack_streams
from ..model.fuse import SentryFuse
from ..model.subnetwork import Subnetwork
from ..pruning.slicing import slice_weights
from ..pruning.units import SiteKeep
from .backend import BackendOutput, FusedTokens

WARM_UP_RUNS = 3  # before a graph is captured, so that libraries have chosen their kernels and made their workspaces


@dataclass(frozen=True, slots=True)
class EagerPlan:
    """Runs every operation of a plan when it is asked to."""

    names: tuple[str, ...]  # of the inputs
    device: torch.device
    forward: Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]  # what `BackendOutput` has, each with a leading axis of 1

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
        """One window, on the plan's device."""
        return self.forward({name: _tensor(inputs[name]).to(self.device).unsqueeze(0) for name in self.names})


class CudaGraphPlan:
    """A plan whose operations were captured once and are replayed together: at batch size 1 a GPU otherwise mostly waits for the
    CPU to start the next operation. Inputs go through page-locked buffers, whose addresses the graph knows."""

    def __init__(self, plan: EagerPlan, shapes: Mapping[str, tuple[int, ...]]):
        self._plan = plan  # the graph reads its weights where they lie, so they have to stay there
        self._host = {name: torch.zeros(1, *shapes[name]).pin_memory() for name in plan.names}
        self._on_device = {name: buffer.to(plan.device) for name, buffer in self._host.items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                plan.forward(self._on_device)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._out = plan.forward(self._on_device)

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
        """One window. What it returns is overwritten by the next run."""
        for name, buffer in self._host.items():
            buffer.copy_(_tensor(inputs[name]).unsqueeze(0))
            self._on_device[name].copy_(buffer, non_blocking=True)
        self._graph.replay()
        return self._out


def _tensor(x: np.ndarray) -> Tensor:
    """The array, or a copy of one that is read-only, as windows are that serve several predictions: torch warns of those."""
    return torch.from_numpy(x if x.flags.writeable else x.copy())


class TorchBackend:
    """Forward passes of a `SentryFuse`."""

    name = "torch"
    takes_tokens = False

    def __init__(self, model: SentryFuse, device: str = "cpu", threads: int = 1, graphs: bool = True, gives_tokens: bool = False):
        """``threads`` is torch's number of intra-op threads, which holds for the whole process. ``graphs``: whether plans on CUDA
        are captured; without, every operation is started on its own. ``gives_tokens``: whether runs return the tokens, too."""
        torch.set_num_threads(threads)
        self._device = torch.device(device)
        if self._device.type == "cuda":
            # TF32 would round the inputs of convolutions to ten bits of mantissa, and the answers would differ from a CPU's by
            # 1e-3. This too holds for the whole process.
            torch.backends.cudnn.allow_tf32 = False
        self._graphs = graphs and self._device.type == "cuda"
        self._gives_tokens = gives_tokens
        self.device = self._device.type
        self.model = model.to(self._device).eval().requires_grad_(False)

    @torch.inference_mode()
    def compile(self, part: Subnetwork, units: Sequence[SiteKeep]) -> EagerPlan | CudaGraphPlan:
        """Slice the weights; streams of one shape are stacked, so that they run at once."""
        model, weights = self.model, stack_streams(self.model.backbone, slice_weights(self.model, units))
        specs = [spec for spec, here in zip(model.config.modalities, part.used) if here]

        def forward(windows: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
            tokens = model.tokens(windows, part.used, part.stems)
            return model.fuse_with_tokens(tokens, weights) if self._gives_tokens else model.fuse(tokens, weights)

        plan = EagerPlan(tuple(spec.name for spec in specs), self._device, forward)
        return CudaGraphPlan(plan, {spec.name: spec.shape for spec in specs}) if self._graphs else plan

    def forget(self) -> None:
        """Nothing is kept from one window to the next."""

    def prime(self, inputs: Mapping[str, np.ndarray], newest: bool = False) -> None:
        """Nothing is kept from one window to the next."""

    @torch.inference_mode()
    def run(self, compiled: EagerPlan | CudaGraphPlan, inputs: Mapping[str, np.ndarray]) -> BackendOutput:
        """See `Backend.run`."""
        logits, share, *tokens = (values[0].float().cpu().numpy() for values in compiled.run(inputs))
        return BackendOutput(logits, share, FusedTokens(*tokens) if tokens else None)
