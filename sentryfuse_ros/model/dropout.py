"""Dropout that is fast on a CPU: it draws one random byte per number, where torch draws a random number for each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dropout(x: Tensor, chance: float) -> Tensor:
    """Zero each number of x (any shape) with the probability ``chance`` (0 to 0.9), and scale up the rest so that the mean stays.

    On a CPU the chance is rounded to a 256th. Torch's own dropout draws a random number for each of x, which takes a tenth of the
    whole training step of a small network; here one draw serves eight. Both draw from torch's default generator.
    """
    if not chance:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, chance)
    dropped = round(256 * chance)
    noise = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
    keep = (noise[: x.numel()] >= dropped).view(x.shape)
    return x * keep.to(x.dtype).mul_(256 / (256 - dropped))


class Dropout(nn.Module):
    """Applies `dropout` in training mode and nothing in evaluation mode."""

    def __init__(self, chance: float):
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.chance if self.training else 0.0)
