"""SentryGate: how important is each head and FFN channel, given which sensors are there."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SentryGate(nn.Module):
    """mask (M,) -> scores of heads (sites, H) and FFN channels (sites, C); higher stays longer.

    A two-layer perceptron on the mask plus a static bias per unit. It never sees sensor data, so its answer is
    a constant per mask and costs nothing at run time. Sites of absent streams have scores too; nobody asks for them.
    """

    def __init__(self, modalities: int, sites: int, heads: int, channels: int, hidden: int = 32):
        super().__init__()
        self.shape = (sites, heads, channels)
        units = sites * (heads + channels)
        self.hidden = nn.Linear(modalities, hidden)
        self.score = nn.Linear(hidden, units, bias=False)
        self.static = nn.Parameter(torch.zeros(units))

    def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        sites, heads, channels = self.shape
        # -1/+1 instead of 0/1: an absent sensor then has a voice of its own.
        x = mask.to(self.static.dtype) * 2 - 1
        scores = self.score(torch.tanh(self.hidden(x))) + self.static
        return scores[: sites * heads].view(sites, heads), scores[sites * heads :].view(sites, channels)
