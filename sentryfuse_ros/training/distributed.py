"""Several GPUs or processes on one training run, started by torchrun: every rank takes its share of each batch.

All ranks draw masks, ratios and the order of examples from the same seed, so they run the same network; gradients and saliencies
are averaged. torch's DistributedDataParallel hooks into `forward`, but a step here runs two differently sliced networks on shared
tokens, so the averaging is done by hand after the backward pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import ParameterError


class Distributed:
    """This process among those of one training run. A run in one process needs no torchrun."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.local = int(os.environ.get("LOCAL_RANK", "0"))
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def device(self, wanted: str) -> torch.device:
        """The device of this rank; raises ParameterError if CUDA is wanted and there is none."""
        if wanted == "cuda" and not torch.cuda.is_available():
            raise ParameterError(
                "training recipe device", "cuda", "a CUDA device that torch can use", "set device to auto or cpu"
            )
        if wanted == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.local)

    def share(self, index: np.ndarray) -> np.ndarray:
        """This rank's part of a batch (k,). All parts have the same size, so that all ranks draw alike; a rest is left out."""
        if self.count == 1:
            return index
        size = max(1, len(index) // self.count)
        first = self.rank * size % len(index)
        return index[first : first + size]

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, all in one message."""
        tensors = list(tensors)
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))

    def wait(self) -> None:
        """Wait until all ranks have come this far."""
        if self.count > 1:
            dist.barrier()

    def close(self) -> None:
        """End the group of processes."""
        if self.count > 1 and dist.is_initialized():
            dist.destroy_process_group()
