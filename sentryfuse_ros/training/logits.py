"""Logits of a network over many examples, for every mask and pruning ratio asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..masks import mask_to_bits
from ..model.fuse import SentryFuse
from ..pruning.slicing import choose_plan, slice_weights
from .examples import Examples


@torch.inference_mode()
def predict_logits(
    model: SentryFuse,
    examples: Examples,
    masks: Sequence[Sequence[bool]],
    levels: Sequence[float],
    batch: int = 128,
    index: np.ndarray | None = None,
) -> dict[str, list[np.ndarray]]:
    """{mask bits: [logits (n, classes) per ratio level]} of all examples, or of those at ``index``."""
    model.eval()
    device = next(model.parameters()).device
    index = np.arange(len(examples)) if index is None else np.asarray(index)
    weights = {mask_to_bits(mask): [slice_weights(model, choose_plan(model, mask, level)) for level in levels] for mask in masks}
    parts: dict[str, list[list[np.ndarray]]] = {bits: [[] for _ in levels] for bits in weights}
    for start in range(0, len(index), batch):
        inputs = examples.inputs(index[start : start + batch], model.config.modalities)
        chunk = {n: torch.from_numpy(x).to(device) for n, x in inputs.items()}
        for mask in masks:
            tokens = model.tokens(chunk, mask)
            for part, w in zip(parts[mask_to_bits(mask)], weights[mask_to_bits(mask)]):
                part.append(model.fuse(tokens, w).logits.cpu().numpy())
    classes = len(model.config.classes)
    return {bits: [np.concatenate(p) if p else np.empty((0, classes), np.float32) for p in rows] for bits, rows in parts.items()}


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of the rows of logits (n, classes) whose largest entry is that of the label (n,)."""
    return float((logits.argmax(1) == labels).mean())
