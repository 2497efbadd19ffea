"""Training a network on clips that it sees twice: encoded whole, and as a stream of which most codes are older.

A window of the full branch has the same code in the stream as in the clip that is encoded whole, so that only the windows of the
light branch are encoded besides. What the network answers to the whole clip teaches the stream, and the parts of the backbone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.fuse import SentryFuse
from ..pruning.slicing import slice_weights
from ..streaming.stream_config import StreamConfig
from .depth_clips import Clips, DepthFrames
from .drawn_streams import StreamMix
from .stream_recipe import StreamRecipe
from .stream_trainer import (
    StepReport,
    StreamTrainer,
    depth_windows,
    divergence,
    patch_tokenizer_of,
    read_pictures,
    tokens_in_motion,
)

AHEAD = 8  # batches whose streams are made at once on a GPU, where the many small steps of a stream take longer than all else


class PairTrainer(StreamTrainer):
    """A `StreamTrainer` for which every clip of a batch is both whole and a stream."""

    def __init__(
        self,
        model: SentryFuse,
        frames: DepthFrames,
        recordings: Sequence[int],
        recipe: StreamRecipe,
        seed: int,
        streaming: StreamConfig | None = None,
    ):
        """``streaming``: policy and learned router that the recipe's share `routed` of the streams follows."""
        super().__init__(model, frames, recordings, recipe, seed)
        self._mix = StreamMix(recipe.frugal, recipe.routed, streaming)
        self._ready: tuple[Clips, Tensor, Tensor] | None = None  # clips, and what `streams` made of them

    def batches(self) -> Iterator[Clips]:
        batch, ahead = self.recipe.batch, AHEAD if self.device.type == "cuda" else 1
        for clips in self.drawn(batch * ahead):
            source, light = self.streams(clips)
            for start in range(0, len(source), batch):
                part = slice(start, start + batch)
                some = Clips(*(tensor[part] for tensor in clips))
                self._ready = some, source[part], light[part]
                yield some

    def losses(self, clips: Clips) -> StepReport:
        recipe, model, batch = self.recipe, self.model, len(clips.labels)
        if self._ready is None or self._ready[0] is not clips:
            self._ready = clips, *self.streams(clips)
        _, source, light = self._ready
        valid, labels = torch.cat([clips.valid] * 2), torch.cat([clips.labels] * 2)
        with self.precision():
            codes = torch.cat(pair_of_codes(model, clips, source, light))
            pictures = read_pictures(model, codes, valid, recipe.code_dropout)
            tokens = tokens_in_motion(model, pictures, valid)
            logits = model.fuse(tokens).logits
            parts = [model.fuse(tokens, slice_weights(model, plan)).logits for plan in self.plans_now]
            # The auxiliary head is new. It learns alone at first, lest a network that goes on learning follows its errors.
            guess = self.joints((pictures.detach() if self.rising else pictures)[valid])
        logits, teacher = logits.float(), logits[:batch].float()
        off = F.smooth_l1_loss(guess.float(), torch.cat([clips.joints] * 2)[valid])
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        taught = divergence(logits[batch:], teacher)
        for again in parts:
            answer = again.float()
            loss = (
                loss + F.cross_entropy(answer, labels, label_smoothing=recipe.label_smoothing) / len(parts) * recipe.parts_weight
            )
            taught = taught + divergence(answer, torch.cat([teacher] * 2)) / len(parts) * recipe.parts_weight
        if recipe.tokens:
            whole, stream = pictures.float()[:batch][clips.valid].detach(), pictures.float()[batch:][clips.valid]
            loss = loss + recipe.tokens * F.mse_loss(stream, whole) / whole.var(0).mean().clamp_min(1e-6)
        here = torch.arange(source.shape[1], device=source.device).view(1, -1, 1)
        anew = (source == here)[clips.valid].float().mean()
        return StepReport(
            loss + recipe.joints * off + recipe.distill * taught, off, (logits.argmax(1) == labels).float().mean(), anew
        )

    def streams(self, clips: Clips) -> tuple[Tensor, Tensor]:
        """A stream of each clip; see `StreamMix.draw`."""
        return self._mix.draw(clips, self.model, self.random)


def pair_of_codes(model: SentryFuse, clips: Clips, source: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of the windows of clips (B, K, W, code): of clips that are encoded whole, and of the same clips as a stream.

    source (B, K, W): the picture whose code stands for a window of the stream; light (B, K): pictures of the light branch.
    """
    tokenizer = patch_tokenizer_of(model)
    windows = depth_windows(model, clips.depth_m)
    whole = tokenizer.encode(windows[clips.valid].flatten(0, 1))
    dense = torch.zeros(*source.shape, tokenizer.options.code, device=whole.device, dtype=whole.dtype)
    dense[clips.valid] = whole.unflatten(0, (-1, source.shape[2]))
    here = torch.arange(source.shape[1], device=source.device).view(1, -1, 1)
    of_light = (source == here) & light.unsqueeze(-1) & clips.valid.unsqueeze(-1)
    own = dense
    if of_light.any():
        own = dense.index_put((of_light,), tokenizer.encode(windows[of_light], len(tokenizer.sizes) - 1).to(dense.dtype))
    held = own.gather(1, source.unsqueeze(-1).expand_as(own))
    return dense, held
