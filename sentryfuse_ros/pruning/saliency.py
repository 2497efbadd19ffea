"""The saliency teacher: first-order importance of every unit, measured per mask while the network trains.

SentryFuse (arXiv 2604.08971) supervises the gate by first-order gradient saliency. The form used here is ours: the absolute
gradient of a multiplier per sample, heads and channels normalised apart, a moving average per mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..masks import mask_to_bits
from ..model.block import SiteScales
from ..model.config import FuseConfig
from ..model.gate import Scores
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


def saliency(scales: Sequence[SiteScales]) -> Scores:
    """Mean over samples of |dL/dm| after a backward pass: heads (sites, H), channels (sites, C).

    Each kind has mean 1 over the sites that ran; sites of absent streams have 0. The absolute value is taken per sample, because
    gradients of opposite sign would hide a busy unit if they were averaged first.
    """
    ran = torch.tensor([s.heads.grad is not None for s in scales])
    return _mean_gradient([s.heads for s in scales], ran), _mean_gradient([s.channels for s in scales], ran)


def _mean_gradient(multipliers: Sequence[Tensor], ran: Tensor) -> Tensor:
    """(sites, units): the mean absolute gradient of multipliers (B, units), scaled to mean 1 over the sites that ran."""
    mean = torch.stack([(torch.zeros_like(m) if m.grad is None else m.grad).abs().mean(0) for m in multipliers])
    return mean / mean[ran.to(mean.device)].mean().clamp_min(1e-12)


class SaliencyTeacher:
    """A moving average of `saliency` for every mask seen so far. Its state is explicit: `state_dict`, `load_state_dict`."""

    def __init__(self, rate: float = 0.1):
        self.rate = rate
        self._seen: dict[str, Scores] = {}

    def update(self, mask: Sequence[bool], new: Scores) -> None:
        """Blend in a measurement."""
        old, r = self._seen.get(mask_to_bits(mask), new), self.rate
        self._seen[mask_to_bits(mask)] = ((1 - r) * old[0] + r * new[0], (1 - r) * old[1] + r * new[1])

    def target(self, mask: Sequence[bool]) -> Scores | None:
        """The average of a mask, heads (sites, H) and channels (sites, C); None until the mask has been measured."""
        return self._seen.get(mask_to_bits(mask))

    def state_dict(self) -> dict[str, Tensor]:
        """Flat tensors: ``MASK.heads``, ``MASK.channels``."""
        return {f"{k}.{part}": t for k, pair in self._seen.items() for part, t in zip(("heads", "channels"), pair)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        keys = {name.split(".")[0] for name in state}
        self._seen = {k: (state[f"{k}.heads"], state[f"{k}.channels"]) for k in keys}


def alignment_loss(scores: Scores, target: Scores) -> Tensor:
    """KL(target share || softmax scores), heads and channels apart; zero when the gate ranks as the teacher does.

    Sites without saliency belong to absent streams and did not run, so their scores are left alone.
    """
    loss = scores[0].new_zeros(())
    for score, t in zip(scores, target):
        ran = t.sum(1) > 0
        score, t = score[ran], t[ran]
        share = (t / t.sum()).flatten()
        loss = loss + F.kl_div(F.log_softmax(score.flatten(), 0), share, reduction="sum")
    return loss
