"""Logits of a network over many examples, for every subnetwork asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..masks import mask_to_bits
from ..model.fuse import SentryFuse, Tokens
from ..model.subnetwork import Subnetwork, whole_stems
from ..pruning.slicing import as_arrays, gate_scores, slice_weights
from ..pruning.units import subnetwork_units
from .examples import Examples


@torch.inference_mode()
def predict_subnetworks(
    model: SentryFuse, examples: Examples, parts: Sequence[Subnetwork], batch: int = 0, index: np.ndarray | None = None
) -> dict[Subnetwork, np.ndarray]:
    """Logits (n, classes) of each subnetwork, of all examples or of those at ``index``. Every stem runs once per example.

    ``batch`` 0 takes as many examples at a time as suit the device: a GPU wants more of them.
    """
    model.eval()
    device = next(model.parameters()).device
    batch = batch or (128 if device.type == "cpu" else 1024)
    index = np.arange(len(examples)) if index is None else np.asarray(index)
    backbones = {}
    for part in parts:
        key = (part.used, part.fusion_size)
        if key not in backbones:
            scores = as_arrays(gate_scores(model, part.used))
            backbones[key] = slice_weights(model, subnetwork_units(model.config, model.lengths, part, scores))
    stems = {(i, part.stems[i]) for part in parts for i in np.flatnonzero(part.used).tolist()}
    by_stems: dict[tuple, list[Subnetwork]] = {}
    for part in parts:
        by_stems.setdefault((part.used, part.stems), []).append(part)
    found = {part: np.empty((len(index), len(model.config.classes)), np.float32) for part in parts}
    for start in range(0, len(index), batch):
        chunk = slice(start, start + batch)
        inputs = examples.inputs(index[chunk], model.config.modalities)
        windows = {n: torch.from_numpy(x).to(device) for n, x in inputs.items()}
        made = {(i, size): model.tokens_of(i, windows[model.config.names[i]], size) for i, size in stems}
        for (used, sizes), same in by_stems.items():
            live = [i for i, here in enumerate(used) if here]
            x, empty = zip(*(made[i, sizes[i]] for i in live))
            tokens = Tokens(torch.cat(x, 1), torch.cat(empty, 1), tuple(live))
            for part in same:
                found[part][chunk] = model.fuse(tokens, backbones[used, part.fusion_size]).logits.cpu().numpy()
    return found


def predict_logits(
    model: SentryFuse,
    examples: Examples,
    masks: Sequence[Sequence[bool]],
    levels: Sequence[float],
    batch: int = 0,
    index: np.ndarray | None = None,
) -> dict[str, list[np.ndarray]]:
    """{mask bits: [logits (n, classes) per ratio level]}, with whole stems and all layers; see `predict_subnetworks`."""
    parts = {mask_to_bits(mask): [whole_stems(model.config, mask, level) for level in levels] for mask in masks}
    found = predict_subnetworks(model, examples, [part for row in parts.values() for part in row], batch, index)
    return {bits: [found[part] for part in row] for bits, row in parts.items()}


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of the rows of logits (n, classes) whose largest entry is that of the label (n,)."""
    return float((logits.argmax(1) == labels).mean())
