"""Which windows of which pictures are encoded anew in clips, and which older code stands for the others: in torch, batched.

The same rule as `streaming.change_detection`, for training with the stale codes that the robot will have. Tests hold one against
the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..streaming.change_rule import ChangeRule

REUSE, LIGHT, FULL = 0, 1, 2  # branches


class Encoded(NamedTuple):
    """How the codes of clips of K pictures with W windows come about."""

    anew: Tensor  # (B, K, W) bool: encoded from this picture
    source: Tensor  # (B, K, W) int64: the picture, 0 to K - 1, whose code stands for the window


def patch_view(depth_m: Tensor, patch: int, window: int, steps: tuple[int, int] = (1, 1)) -> Tensor:
    """Pictures (..., H, W) -> pixels of the patches of each window (..., windows, window ** 2, pixels), of every so many-th
    row and column."""
    depth_m, high, wide = depth_m[..., :: steps[0], :: steps[1]], patch // steps[0], patch // steps[1]
    x = depth_m.unflatten(-1, (-1, window, wide)).unflatten(-4, (-1, window, high))
    n = x.ndim - 6
    order = [*range(n), *(n + i for i in (0, 3, 1, 4, 2, 5))]
    return x.permute(order).flatten(-2).flatten(-3, -2).flatten(n, n + 1)


@dataclass
class BatchDetector:
    """The state of the change detection of B clips; `step` takes one picture of each."""

    rule: ChangeRule
    reference: Tensor  # (B, W, P, pixels) of the picture whose code is held
    noise: Tensor  # (B, W, P) mean change of an unchanged patch

    @classmethod
    def start(cls, rule: ChangeRule, patches: Tensor) -> BatchDetector:
        """From the first picture of each clip (B, W, P, pixels)."""
        return cls(rule, patches.clone(), expected_noise_of(rule, patches))

    def scores(self, patches: Tensor) -> Tensor:
        """How much each patch has changed (B, W, P), above 1 where it counts as changed. Learns the noise of the others."""
        rule, valid, held = self.rule, patches > 0, self.reference > 0
        both = valid & held
        count = both.sum(-1)
        change = ((patches - self.reference).abs() * both).sum(-1) / count.clamp_min(1)
        flipped = (valid ^ held).float().mean(-1)
        enough = count >= rule.least_share * patches.shape[-1]
        limit = rule.factor * self.noise.clamp(rule.noise_floor, rule.noise_cap) + rule.floor
        score = torch.maximum(torch.where(enough, change / limit, 0.0), flipped / rule.flipped_share)
        quiet = enough & (score <= 1)
        self.noise = torch.where(quiet, self.noise + rule.noise_rate * (change - self.noise), self.noise)
        return score

    def hold(self, patches: Tensor, anew: Tensor) -> None:
        """Take the pixels of the windows ``anew`` (B, W) as the new reference."""
        self.reference = torch.where(anew[..., None, None], patches, self.reference)


def encoded_anew(
    patches: Tensor, valid: Tensor, rule: ChangeRule, most: Tensor, reuse: Tensor, refresh: Tensor, dense: Tensor
) -> Encoded:
    """Run the change detection over clips.

    patches (B, K, W, P, pixels); valid (B, K): slots with a picture, the last ones; most (B,): at most so many windows a picture;
    reuse (B, K): pictures of which nothing is encoded; refresh (B, K, W): windows encoded whatever their change; dense (B,):
    clips of which everything is.
    """
    batch, count, windows = patches.shape[:3]
    anew = torch.zeros(batch, count, windows, dtype=torch.bool, device=patches.device)
    detector = BatchDetector.start(rule, patches[:, 0])
    for t in range(count):
        first = valid[:, t] & ~(valid[:, t - 1] if t else torch.zeros_like(valid[:, 0]))
        score = detector.scores(patches[:, t]).amax(-1)  # (B, W)
        rank = score.argsort(-1, descending=True).argsort(-1)
        chosen = ((score > 1) & (rank < most[:, None])) | refresh[:, t]
        chosen = chosen & ~reuse[:, t, None] | first[:, None] | dense[:, None]
        anew[:, t] = chosen & valid[:, t, None]
        detector.hold(patches[:, t], anew[:, t])
        detector.noise = torch.where(first[:, None, None], expected_noise_of(rule, patches[:, t]), detector.noise)
    places = torch.arange(count, device=patches.device).view(1, -1, 1)
    return Encoded(anew, torch.cummax(torch.where(anew, places, 0), 1).values)


def expected_noise_of(rule: ChangeRule, patches: Tensor) -> Tensor:
    """Mean change of patches (..., pixels) that do not change, by their depth, before anything is learnt (...)."""
    expected: Tensor = rule.expected_noise(patches.sum(-1) / (patches > 0).sum(-1).clamp_min(1))
    return expected
