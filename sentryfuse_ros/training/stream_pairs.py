"""Training a network on clips that it sees twice: encoded whole, and as a stream of which most codes are older.

A window of the full branch has the same code in the stream as in the clip that is encoded whole, so that only the windows of the
light branch are encoded besides. What the network answers to the whole clip teaches the stream, and the parts of the backbone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.fuse import SentryFuse
from ..pruning.slicing import slice_weights
from .depth_clips import Clips
from .stream_codes import random_stream
from .stream_trainer import (
    StepReport,
    StreamTrainer,
    depth_windows,
    divergence,
    patch_tokenizer_of,
    read_pictures,
    tokens_in_motion,
)


class PairTrainer(StreamTrainer):
    """A `StreamTrainer` for which every clip of a batch is both whole and a stream."""

    def losses(self, clips: Clips) -> StepReport:
        recipe, model, batch = self.recipe, self.model, len(clips.labels)
        source, light = random_stream(clips, model, self.random, recipe.frugal)
        valid, labels = torch.cat([clips.valid] * 2), torch.cat([clips.labels] * 2)
        with self.precision():
            codes = torch.cat(pair_of_codes(model, clips, source, light))
            pictures = read_pictures(model, codes, valid, recipe.code_dropout)
            tokens = tokens_in_motion(model, pictures, valid)
            logits = model.fuse(tokens).logits
            again = model.fuse(tokens, slice_weights(model, self.plan)).logits
            guess = self.joints(pictures[valid])
        logits, again, teacher = logits.float(), again.float(), logits[:batch].float()
        off = F.smooth_l1_loss(guess.float(), torch.cat([clips.joints] * 2)[valid])
        loss = sum(F.cross_entropy(x, labels, label_smoothing=recipe.label_smoothing) for x in (logits, again))
        taught = divergence(logits[batch:], teacher) + divergence(again, torch.cat([teacher] * 2))
        here = torch.arange(source.shape[1], device=source.device).view(1, -1, 1)
        anew = (source == here)[clips.valid].float().mean()
        return StepReport(
            loss + recipe.joints * off + recipe.distill * taught, off, (logits.argmax(1) == labels).float().mean(), anew
        )


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
