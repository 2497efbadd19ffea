"""Training a network on a camera's stream, with the stale codes and the branches that it will have to work with.

Half of the clips of a batch are encoded whole, half as on the robot: windows that did not change keep an older code, which the
whole encoder or its smallest size (the light branch) made. A second pass in every batch runs a part of the backbone, and where
the joints of the people are known, a token has to tell where they are (an auxiliary task that ends with the training).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.fuse import SentryFuse, Tokens
from ..model.patch_tokenizer import PatchTokenizer
from ..pruning.slicing import choose_plan, slice_weights
from ..pruning.units import SiteKeep
from ..streaming.change_rule import ChangeRule
from .depth_clips import Clips, DepthFrames
from .optimiser import make_optimiser
from .stale_tokens import FULL, LIGHT, REUSE, Encoded, encoded_anew, patch_view
from .stream_recipe import StreamRecipe

RUN = 4  # pictures for which a drawn branch stays
REFRESH = 60  # pictures after which a window is encoded anew whatever its change


class StepReport(NamedTuple):
    """What one step found, still on the device."""

    loss: Tensor
    joints: Tensor  # error of the auxiliary task
    correct: Tensor
    anew: Tensor  # share of the windows encoded in streamed clips


class StreamTrainer:
    """Trains ``model``, whose only input is a camera with a patch encoder."""

    def __init__(self, model: SentryFuse, frames: DepthFrames, recordings: Sequence[int], recipe: StreamRecipe, seed: int):
        self.recipe, self.frames, self.model = recipe, frames, model
        self.device = frames.people_mm.device
        self.spec = model.config.modalities[0]
        self.recordings = torch.as_tensor(list(recordings), device=self.device)
        self.random = torch.Generator(self.device).manual_seed(seed)
        self.ema_model = SentryFuse(model.config).to(self.device).requires_grad_(False)
        self.ema_model.load_state_dict(model.state_dict())
        width = model.config.d_model
        self.joints = nn.Sequential(nn.Linear(width, 128), nn.GELU(), nn.Linear(128, frames.joints.shape[1])).to(self.device)
        self.weights = [p for n, p in model.named_parameters() if not n.startswith("gate.")] + list(self.joints.parameters())
        decayed = [p for p in self.weights if p.ndim > 1]
        self.optimiser = make_optimiser(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": [p for p in self.weights if p.ndim <= 1], "weight_decay": 0.0},
            ]
        )
        sizes = model.config.fusion_sizes
        self.plans = [[k for k in choose_plan(model, [True], s.ratio)][: s.layers] for s in sizes[1:]]
        self.steps = 0
        self.rising = True  # whether the learning rate still rises

    def batches(self) -> Iterator[Clips]:
        """Clips of all recordings in random order, over and over."""
        return self.drawn(self.recipe.batch)

    def drawn(self, batch: int) -> Iterator[Clips]:
        """The same, ``batch`` clips at a time."""
        count, _, *size = self.spec.shape
        left = self.recordings[:0]
        while True:
            while len(left) < batch:
                order = torch.randperm(len(self.recordings), device=self.device, generator=self.random)
                left = torch.cat([left, self.recordings[order]])
            chosen, left = left[:batch], left[batch:]
            recipe = self.recipe
            yield self.frames.clips(chosen, count, (size[0], size[1]), recipe.rate_hz, self.random, pose=recipe.pose)

    def step(self, clips: Clips, time: float) -> StepReport:
        """One step of the optimiser; ``time`` runs from 0 to 1 over the whole training."""
        recipe = self.recipe
        rate = min(1.0, (time + 1e-3) / (recipe.warmup + 1e-3)) * 0.5 * (1 + math.cos(math.pi * min(time, 1.0)))
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * rate
        self.rising = time < recipe.warmup
        self.model.train()
        report = self.losses(clips)
        self.optimiser.zero_grad(set_to_none=True)
        report.loss.backward()
        nn.utils.clip_grad_norm_(self.weights, recipe.max_grad_norm, foreach=True)
        self.optimiser.step()
        self.steps += 1
        share = 1 - min(recipe.ema_decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema_model.parameters()), list(self.model.parameters()), share)
        return StepReport(*(part.detach() for part in report))

    def losses(self, clips: Clips) -> StepReport:
        """What the optimiser makes smaller, from a batch of clips some of which are streams."""
        recipe, model = self.recipe, self.model
        with self.precision():
            branch, encoded = self.random_stream(clips)
            pictures = picture_tokens(model, clips, encoded, branch, recipe.code_dropout)
            tokens = tokens_in_motion(model, pictures, clips.valid)
            logits = model.fuse(tokens).logits
            again = model.fuse(tokens, slice_weights(model, self.plans_now[0])).logits
            guess = self.joints(pictures[clips.valid])
        logits, again = logits.float(), again.float()
        off = F.smooth_l1_loss(guess.float(), clips.joints[clips.valid])
        loss = sum(F.cross_entropy(x, clips.labels, label_smoothing=recipe.label_smoothing) for x in (logits, again))
        loss = loss + recipe.joints * off + recipe.distill * divergence(again, logits)
        streamed = ~_dense(encoded, clips.valid)
        anew = (encoded.anew.float().mean(-1) * clips.valid)[streamed].sum() / clips.valid[streamed].sum().clamp_min(1)
        return StepReport(loss, off, (logits.argmax(1) == clips.labels).float().mean(), anew)

    @property
    def plans_now(self) -> list[list[SiteKeep]]:
        """The parts of the backbone that learn in this step, in turns."""
        first, count = self.steps * self.recipe.parts, min(self.recipe.parts, len(self.plans))
        return [self.plans[(first + i) % len(self.plans)] for i in range(count)]

    def precision(self) -> torch.autocast:
        """On a GPU, matrices are multiplied in bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def random_stream(self, clips: Clips) -> tuple[Tensor, Encoded]:
        """Branches (B, K) and encoded windows of a batch: some clips whole, some as a robot would, at random sensitivity."""
        batch, count = clips.valid.shape
        options = self.tokenizer.options
        rule = ChangeRule(factor=float(torch.rand(()) * 2.3 + 1.2))
        patches = patch_view(clips.depth_m, options.patch, options.window, rule.steps)
        windows = patches.shape[2]

        def draw(*shape: int) -> Tensor:
            return torch.rand(*shape, device=self.device, generator=self.random)

        streamed = draw(batch) < self.recipe.streamed
        branched = streamed & (draw(batch) < self.recipe.branched)
        which = draw(batch, -(-count // RUN)).repeat_interleave(RUN, 1)[:, :count]
        drawn = torch.where(which < 0.2, REUSE, torch.where(which < 0.6, LIGHT, FULL))
        branch = torch.where(branched[:, None], drawn, FULL)
        most = torch.where(draw(batch) < 0.5, windows, (draw(batch) * windows / 3).long() + 2)
        refresh = draw(batch, count, windows) < 1 / REFRESH
        encoded = encoded_anew(patches, clips.valid, rule, most, branch == REUSE, refresh, ~streamed)
        # The first picture of a clip is encoded whatever was drawn; some clips are light from the first one on.
        return torch.where(branch == REUSE, FULL, branch), encoded

    @property
    def tokenizer(self) -> PatchTokenizer:
        """The patch encoder of the network in training."""
        return patch_tokenizer_of(self.model)


def divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    """Of answers (B, classes) from those of a teacher, which learns nothing from it."""
    target = F.log_softmax(teacher.detach(), 1)
    return F.kl_div(F.log_softmax(logits, 1), target, log_target=True, reduction="batchmean")


def patch_tokenizer_of(model: SentryFuse) -> PatchTokenizer:
    """The patch encoder of a network with one input."""
    stem = model.stems[0]
    assert isinstance(stem, PatchTokenizer)
    return stem


def _dense(encoded: Encoded, valid: Tensor) -> Tensor:
    """Clips (B,) of which every window was encoded anew."""
    return (encoded.anew | ~valid.unsqueeze(-1)).flatten(1).all(1)


def depth_windows(model: SentryFuse, depth_m: Tensor) -> Tensor:
    """Depths of clips (B, K, H, W) -> windows as the encoder takes them, normalised (B, K, W, 1, side, side)."""
    spec = model.config.modalities[0]
    x = torch.where(depth_m > 0, (depth_m - spec.mean[0]) / spec.std[0], 0.0)
    return patch_tokenizer_of(model).windows(x.flatten(0, 1).unsqueeze(1)).unflatten(0, depth_m.shape[:2])


def picture_tokens(model: SentryFuse, clips: Clips, encoded: Encoded, branch: Tensor, dropout: float = 0.0) -> Tensor:
    """Tokens of single pictures (B, K, D) from the windows that were encoded, each by the branch (B, K) of its picture."""
    tokenizer = patch_tokenizer_of(model)
    windows = depth_windows(model, clips.depth_m)
    place = (torch.cumsum(encoded.anew.flatten().long(), 0) - 1).view(encoded.anew.shape)
    light = (branch == LIGHT).unsqueeze(-1) & encoded.anew
    whole = encoded.anew & ~light
    codes = torch.zeros(int(encoded.anew.sum()), tokenizer.options.code, device=windows.device)
    smallest = len(tokenizer.sizes) - 1
    for chosen, size in ((whole, 0), (light, smallest)):
        at = place[chosen]
        if len(at):
            codes = codes.index_copy(0, at, tokenizer.encode(windows[chosen], size).float())
    held = codes[place.gather(1, encoded.source).clamp_min(0)]  # (B, K, W, code)
    return read_pictures(model, held, clips.valid, dropout)


def read_pictures(model: SentryFuse, codes: Tensor, valid: Tensor, dropout: float = 0.0) -> Tensor:
    """Codes of the windows of pictures (B, K, W, code) -> tokens of single pictures (B, K, D), 0 where none is ``valid`` (B, K).

    dropout: chance that a window's code is left out in training.
    """
    held = codes[valid]  # (pictures, W, code)
    if dropout and model.training:
        held = held * (torch.rand(held.shape[:2], device=held.device) >= dropout).unsqueeze(-1) / (1 - dropout)
    tokens = patch_tokenizer_of(model).read_out(held)
    out = torch.zeros(*valid.shape, tokens.shape[-1], device=tokens.device, dtype=tokens.dtype)
    out[valid] = tokens
    return out


def tokens_in_motion(model: SentryFuse, pictures: Tensor, valid: Tensor) -> Tokens:
    """The tokens of a window, as the backbone takes them, from those of its pictures (B, K, D)."""
    tokens, empty = patch_tokenizer_of(model).in_motion(pictures, valid)
    return Tokens(tokens + model.positions[0], empty, (0,))


@torch.no_grad()
def clip_logits(model: SentryFuse, clips: Clips, encoded: Encoded, branch: Tensor) -> Tensor:
    """Logits (B, classes) of clips whose windows were encoded as given."""
    model.eval()
    return model.fuse(tokens_in_motion(model, picture_tokens(model, clips, encoded, branch), clips.valid)).logits
