"""The streams that a training shows a network: random ones, and those that the model's own policy and router make."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.fuse import SentryFuse
from ..streaming.change_rule import ChangeRule
from ..streaming.stream_config import StreamConfig
from .depth_clips import Clips
from .routed_streams import deployed_streams
from .stale_tokens import encoded_anew, patch_view
from .stream_trainer import REFRESH, RUN, patch_tokenizer_of

MOST_REUSED = 0.4  # largest share of reused pictures in a stream with branches
FEWEST, FEW = 0.03, 0.13  # shares of the windows that a picture of a frugal stream may encode, at most


@dataclass(frozen=True)
class StreamMix:
    """Which streams are drawn, and how often."""

    frugal: float = 0.0  # share of the random streams that spend as little as at a high pruning ratio
    routed: float = 0.0  # share of all streams that follow policy and router
    streaming: StreamConfig | None = None  # those that are followed; none where None

    def draw(self, clips: Clips, model: SentryFuse, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """A stream of each clip: the picture whose code stands for a window (B, K, W), and which pictures are light (B, K)."""
        source, light = random_stream(clips, model, random, self.frugal)
        if self.routed and self.streaming is not None:
            options, (scale,) = patch_tokenizer_of(model).options, model.config.modalities[0].std
            found = deployed_streams(clips, self.streaming, options.patch, options.window, scale, random)
            routed = torch.rand(len(source), device=source.device, generator=random) < self.routed
            source, light = torch.where(routed[:, None, None], found[0], source), torch.where(routed[:, None], found[1], light)
        return source, light


def random_stream(clips: Clips, model: SentryFuse, random: torch.Generator, frugal: float = 0.0) -> tuple[Tensor, Tensor]:
    """A random stream of each clip: the picture whose code stands for a window (B, K, W), and which pictures are light (B, K).

    Sensitivity, budget and the mix of branches are drawn anew; a third of the clips are encoded by the whole encoder only.
    frugal: share of the clips that spend as little as at a high pruning ratio: the light branch for all pictures but the first,
    and few windows.
    """
    options, (batch, count) = patch_tokenizer_of(model).options, clips.valid.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, device=clips.valid.device, generator=random)

    rule = ChangeRule(factor=float(draw(1) * 2.3 + 1.2))
    patches = patch_view(clips.depth_m, options.patch, options.window, rule.steps)
    windows = patches.shape[2]
    which, among = (draw(batch, -(-count // RUN)).repeat_interleave(RUN, 1)[:, :count] for _ in range(2))
    branched = draw(batch, 1) < 2 / 3
    reuse = branched & (which < MOST_REUSED * draw(batch, 1))
    light = branched & (among < draw(batch, 1))
    most = torch.where(draw(batch) < 0.3, windows, (draw(batch) * windows / 4).long() + 2)
    if frugal:
        saving = draw(batch) < frugal
        few = 1 + (windows * (FEWEST + draw(batch) * (FEW - FEWEST))).long()
        most = torch.where(saving, few, most)
        light = torch.where(saving[:, None], torch.cumsum(clips.valid, 1) > 1, light)
        reuse = torch.where(saving[:, None], which < MOST_REUSED * draw(batch, 1), reuse)
    refresh = draw(batch, count, windows) < 1 / REFRESH
    dense = torch.zeros(batch, dtype=torch.bool, device=clips.valid.device)
    return encoded_anew(patches, clips.valid, rule, most, reuse, refresh, dense).source, light
