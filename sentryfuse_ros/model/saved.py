"""Networks in torch from and to model files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .fuse import SentryFuse


def network_of(checkpoint: Checkpoint) -> SentryFuse:
    """The network of a checkpoint, in evaluation mode and without gradients."""
    model = SentryFuse(checkpoint.config)
    # Copied: the arrays of a checkpoint are views of the file's bytes, which torch must not write to.
    model.load_state_dict({name: torch.tensor(values) for name, values in checkpoint.tensors.items()})
    return model.eval().requires_grad_(False)


def load_checkpoint(path: str | Path) -> tuple[SentryFuse, dict[str, Any]]:
    """Read a model -> (its network, its JSON with the model's ``name``). Raises CheckpointError; see `read_checkpoint`."""
    checkpoint = read_checkpoint(path)
    return network_of(checkpoint), dict(checkpoint.info)


def checkpoint_of(model: SentryFuse, info: Mapping[str, Any] | None = None) -> Checkpoint:
    """A network as a checkpoint that was not written to files."""
    return Checkpoint(model.config, _arrays(model), dict(info or {}))


def save_checkpoint(model: SentryFuse, path: str | Path, info: Mapping[str, Any] | None = None) -> Path:
    """Write a network and its JSON; returns the folder. See `write_checkpoint`."""
    return write_checkpoint(model.config, _arrays(model), path, info)


def weights_digest(module: nn.Module) -> str:
    """What identifies the weights of a network or of a part of it."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    return found.hexdigest()


def _arrays(model: SentryFuse) -> dict[str, Any]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
