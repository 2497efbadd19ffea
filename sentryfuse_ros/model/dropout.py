"""Dropout that does not wait for random numbers: on a CPU a byte of them per number, not a draw of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dropout(x: Tensor, chance: float) -> Tensor:
    """x of any shape -> the same with each number zeroed by ``chance`` (0 to 0.9) and the rest scaled up: the mean stays.

    On a CPU the chance is rounded to a 256th. Torch's own draws a random number for each of x, which is a tenth of a whole
    training step of a small network; here one draw serves eight. From torch's default generator, as that is.
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
    """`dropout` while training, nothing otherwise."""

    def __init__(self, chance: float):
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.chance if self.training else 0.0)
