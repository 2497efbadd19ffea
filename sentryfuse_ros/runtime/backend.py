"""What the engine asks of a library that runs networks: ONNX Runtime, or torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..model.subnetwork import Subnetwork
from ..pruning.units import SiteKeep


class FusedTokens(NamedTuple):
    """Tokens (N, D) float32 of the sensors that a plan uses, in mask order: as they entered the backbone and as they left it."""

    stem: np.ndarray
    fused: np.ndarray


class PictureTokens(NamedTuple):
    """Of a window of pictures that were encoded before: tokens (K, D) and seen (K,) float32, 0 where a slot is empty."""

    tokens: np.ndarray
    seen: np.ndarray


class BackendOutput(NamedTuple):
    """logits (classes,) float32, not calibrated; attention_share (M,) float32, 0 for sensors that were not used; the tokens where
    the backend was loaded to give them."""

    logits: np.ndarray
    attention_share: np.ndarray
    tokens: FusedTokens | None = None


class Backend(Protocol):
    """Forward passes of one network at batch size 1. Any thread may call it, but only one at a time."""

    name: str
    device: str  # where it runs: cpu or cuda
    takes_tokens: bool  # whether pictures may be given as PictureTokens

    def compile(self, part: Subnetwork, units: Sequence[SiteKeep]) -> Any:
        """Make what one plan runs on: a subnetwork and the units that stay in its sites."""
        ...

    def run(self, compiled: Any, inputs: Mapping[str, Any]) -> BackendOutput:
        """One window: inputs[name] contiguous float32 of spec.shape for every sensor that the plan uses, all finite; where the
        backend takes them, PictureTokens in place of the pictures of a stem that makes a token of each."""
        ...

    def forget(self) -> None:
        """Drop what is kept of earlier windows. It never changes an answer, only what the next one costs."""
        ...

    def prime(self, inputs: Mapping[str, np.ndarray], newest: bool = False) -> None:
        """Keep what a stream would have kept before this window: the tokens of all but its newest pictures, or of all of them
        with ``newest``."""
        ...
