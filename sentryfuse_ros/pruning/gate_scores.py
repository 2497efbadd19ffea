"""The gate's scores from a checkpoint's tensors, without torch: what `model.gate.SentryGate` computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..model.config import FuseConfig
from ..model.sites import all_sites
from .units import UnitScores


def gate_scores(config: FuseConfig, tensors: Mapping[str, np.ndarray], mask: Sequence[bool]) -> UnitScores:
    """Scores of heads (sites, H) and FFN channels (sites, C) for a mask (M,)."""
    x = np.asarray(mask, np.float32) * 2 - 1
    hidden = np.tanh(tensors["gate.hidden.weight"] @ x + tensors["gate.hidden.bias"])
    scores = tensors["gate.score.weight"] @ hidden + tensors["gate.static"]
    sites, heads = len(all_sites(config)), config.heads
    return scores[: sites * heads].reshape(sites, heads), scores[sites * heads :].reshape(sites, config.ffn_dim)
