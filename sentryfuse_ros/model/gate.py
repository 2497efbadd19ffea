"""SentryGate: how important each head and FFN channel is, given which sensors are live."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Scores = tuple[Tensor, Tensor]  # of heads (sites, H) and of FFN channels (sites, C); units with a higher score stay longer


class SentryGate(nn.Module):
    """Maps a mask (M,) to scores of heads (sites, H) and FFN channels (sites, C); units with a higher score stay longer.

    It is a two-layer perceptron on the mask plus a static bias per unit. It never sees sensor data, so its answer is a constant
    per mask and costs nothing at run time. Sites of absent streams have scores too, which nothing reads.
    """

    def __init__(self, modalities: int, sites: int, heads: int, channels: int, hidden: int = 32):
        super().__init__()
        self.shape = (sites, heads, channels)
        units = sites * (heads + channels)
        self.hidden = nn.Linear(modalities, hidden)
        self.score = nn.Linear(hidden, units, bias=False)
        self.static = nn.Parameter(torch.zeros(units))

    def forward(self, mask: Tensor) -> Scores:
        sites, heads, channels = self.shape
        # -1 and +1 instead of 0 and 1, so that an absent sensor influences the scores as much as a live one.
        x = mask.to(self.static.dtype) * 2 - 1
        scores = self.score(torch.tanh(self.hidden(x))) + self.static
        return scores[: sites * heads].view(sites, heads), scores[sites * heads :].view(sites, channels)
