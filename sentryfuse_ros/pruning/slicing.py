"""The weights of the units that stay, sliced out of a network in torch; differentiable, so that training runs on them too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..model.attention import AttendWeights
from ..model.block import Block, SiteWeights
from ..model.fuse import SentryFuse
from ..model.gate import Scores
from .units import SiteKeep, UnitScores, plan_units


def choose_plan(model: SentryFuse, mask: Sequence[bool], ratio: float, scores: Scores | None = None) -> list[SiteKeep]:
    """Units that stay in every site that is live under a mask, by the gate's scores or by ``scores``; see `plan_units`."""
    scores = gate_scores(model, mask) if scores is None else scores
    return plan_units(model.config, model.lengths, mask, ratio, as_arrays(scores))


def gate_scores(model: SentryFuse, mask: Sequence[bool]) -> Scores:
    """The gate's scores for a mask, without gradient."""
    with torch.no_grad():
        return model.gate(torch.as_tensor(list(mask), device=model.gate.static.device))


def as_arrays(scores: Scores) -> UnitScores:
    """Scores in torch, on any device, as numpy arrays."""
    heads, channels = (s.detach().cpu().numpy() for s in scores)
    return heads, channels


def slice_block(block: Block, keep: SiteKeep) -> SiteWeights:
    """Weights of the units that stay, or the block's own tensors where all units do. Differentiable."""
    full = block.weights(keep.site)
    if keep.whole:
        return full
    a, hd = full.attention, block.attention.head_dim
    device = a.query.device
    key_rows = (keep.groups[:, None] * hd + np.arange(hd)).ravel()
    rows = _index((keep.heads[:, None] * hd + np.arange(hd)).ravel(), device)
    kv_rows = _index(np.concatenate([key_rows, key_rows + block.attention.groups * hd]), device)
    channels = _index(keep.channels, device)
    attention = AttendWeights(
        a.query.index_select(0, rows),
        a.query_bias.index_select(0, rows),
        a.kv.index_select(0, kv_rows),
        a.kv_bias.index_select(0, kv_rows),
        a.out.index_select(1, rows),
        a.out_bias,
        len(keep.groups),
    )
    return full._replace(
        attention=attention,
        up=full.up.index_select(0, channels),
        up_bias=full.up_bias.index_select(0, channels),
        down=full.down.index_select(1, channels),
    )


def slice_weights(model: SentryFuse, plan: Sequence[SiteKeep]) -> list[SiteWeights]:
    """Weights of every site of a plan, as `SentryFuse.fuse` takes them."""
    return [slice_block(model.backbone.blocks[keep.site], keep) for keep in plan]


def _index(places: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(places).to(device)
