"""The saliency teacher: first-order importance of every unit, measured while the network trains, per mask.

After SentryFuse (arXiv 2604.08971): the gate is supervised by first-order gradient saliency. The form used here
(per-sample absolute gradient of a multiplier, kinds normalised apart, moving average per mask) is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..masks import mask_to_bits
from ..model.block import SiteScales
from ..model.config import FuseConfig
from ..model.sites import all_sites


def unit_scales(config: FuseConfig, batch: int, device: torch.device | str = "cpu") -> list[SiteScales]:
    """Multipliers of one on every head and channel of every site, one row per sample, that collect gradients."""
    return [
        SiteScales(
            torch.ones(batch, config.heads, device=device, requires_grad=True),
            torch.ones(batch, config.ffn_dim, device=device, requires_grad=True),
        )
        for _ in all_sites(config)
    ]


def saliency(scales: Sequence[SiteScales]) -> tuple[Tensor, Tensor]:
    """Mean over samples of |dL/dm| after a backward pass: heads (sites, H), channels (sites, C).

    Of mean 1 over the sites that ran; those of absent streams are 0. The absolute value is taken per sample:
    averaged first, gradients of opposite sign would hide a busy unit.
    """
    ran = torch.tensor([s.heads.grad is not None for s in scales])
    return tuple(
        _of_mean_one(torch.stack([(torch.zeros_like(m) if m.grad is None else m.grad).abs().mean(0) for m in kind]), ran)
        for kind in zip(*scales)
    )


def _of_mean_one(x: Tensor, ran: Tensor) -> Tensor:
    return x / x[ran.to(x.device)].mean().clamp_min(1e-12)


class SaliencyTeacher:
    """Moving average of `saliency` for every mask seen. Explicit state: `state_dict`, `load_state_dict`."""

    def __init__(self, rate: float = 0.1):
        self.rate = rate
        self._seen: dict[str, tuple[Tensor, Tensor]] = {}

    def update(self, mask: Sequence[bool], new: tuple[Tensor, Tensor]) -> None:
        """Blend in a measurement."""
        old = self._seen.get(self._key(mask), new)
        self._seen[self._key(mask)] = tuple((1 - self.rate) * o + self.rate * n for o, n in zip(old, new))

    def target(self, mask: Sequence[bool]) -> tuple[Tensor, Tensor] | None:
        """The average of a mask, heads (sites, H) and channels (sites, C); None while it has not been measured."""
        return self._seen.get(self._key(mask))

    @staticmethod
    def _key(mask: Sequence[bool]) -> str:
        return mask_to_bits(mask)

    def state_dict(self) -> dict[str, Tensor]:
        """Flat tensors: ``MASK.heads``, ``MASK.channels``."""
        return {f"{k}.{part}": t for k, pair in self._seen.items() for part, t in zip(("heads", "channels"), pair)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        keys = {name.split(".")[0] for name in state}
        self._seen = {k: (state[f"{k}.heads"], state[f"{k}.channels"]) for k in keys}


def alignment_loss(scores: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
    """KL(target share || softmax scores), heads and channels apart; zero when the gate ranks as the teacher.

    Sites without saliency did not run, their streams are absent: their scores mean nothing and are left alone.
    """
    loss = scores[0].new_zeros(())
    for score, t in zip(scores, target):
        ran = t.sum(1) > 0
        score, t = score[ran], t[ran]
        share = (t / t.sum()).flatten()
        loss = loss + F.kl_div(F.log_softmax(score.flatten(), 0), share, reduction="sum")
    return loss
