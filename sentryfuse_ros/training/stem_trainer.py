"""Training a patch encoder to stand in for the convolutions of a camera, in a network that does not change otherwise.

First it learns the tokens that the old stem makes of a picture (no labels are needed, and every picture of a recording serves);
then, through the frozen backbone, the labels, and what the old network made of the same windows. Half of the pictures are encoded
as a stream would: the windows that hardly changed keep the code of an older picture, and some pictures take the light branch.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..datasets.camera_pictures import WHITE
from ..errors import ParameterError
from ..language.window_tokens import WindowTokens
from ..model.fuse import SentryFuse, Tokens
from ..model.patch_tokenizer import PatchTokenizer
from ..model.saved import weights_digest
from ..model.tokenizers import Tokenizer
from .camera_windows import CameraWindows
from .optimiser import make_optimiser
from .stale_tokens import patch_view
from .stem_recipe import StemRecipe

THINNED = 2  # every so many-th pixel of every so many-th row is compared, as on the robot
CHUNK = 256  # pictures that go through the old stem at once


class LabelledWindows(NamedTuple):
    """n windows: the tokens of all sensors by the old network, the places of the camera's pictures (n, K), labels (n,)."""

    tokens: WindowTokens
    places: np.ndarray
    labels: np.ndarray


class StepReport(NamedTuple):
    """Losses of one step; those behind the backbone are 0 before it is trained through."""

    tokens: float  # mean square distance from the old stem's tokens, as a share of their variance
    labels: float
    answers: float
    fused: float


class StemTrainer:
    """Trains the stem at ``place`` of ``model``; ``parent`` is the network that is taken over, and its old stem the teacher.

    What is drawn in a step depends on the seed and the number of the step only.
    """

    def __init__(
        self,
        parent: SentryFuse,
        model: SentryFuse,
        place: int,
        pictures: CameraWindows,
        taught: Tensor,
        windows: LabelledWindows,
        recipe: StemRecipe,
        seed: int = 0,
    ):
        """``taught``: what the old stem makes of each picture (`taught_tokens`). Raises ParameterError for an odd patch."""
        self.parent, self.model, self.place, self.recipe, self.seed = parent, model, place, recipe, seed
        self.pictures, self.windows, self.spec = pictures, windows, model.config.modalities[place]
        model.requires_grad_(False)
        self.stem = _patch_stem(model, place).requires_grad_(True)
        if self.stem.options.patch % THINNED:
            raise ParameterError(
                f"stem of {self.spec.name!r} patch", self.stem.options.patch, f"a multiple of {THINNED}", "change it"
            )
        self.ema = _patch_stem(SentryFuse(model.config), place).requires_grad_(False)
        self.ema.load_state_dict(self.stem.state_dict())
        self.weights = list(self.stem.parameters())
        self.optimiser = make_optimiser(
            [
                {"params": [p for p in self.weights if p.ndim > 1], "weight_decay": recipe.weight_decay},
                {"params": [p for p in self.weights if p.ndim <= 1], "weight_decay": 0.0},
            ]
        )
        self._mean, self._std = (
            torch.tensor(v or d).view(-1, 1, 1) for v, d in ((self.spec.mean, (0.0,)), (self.spec.std, (1.0,)))
        )
        self.steps = 0
        self._pixels, self.taught = torch.from_numpy(pictures.pixels), taught
        self.spread = taught[:-1].std(0)

    @cached_property
    def learns_from(self) -> dict[str, Any]:
        """What the training rests on beside its recipe: the networks, the pictures, and the labelled windows."""
        windows = hashlib.sha256()
        for part in (self.windows.labels, self.windows.places, self.windows.tokens.stamp_ns):
            windows.update(np.ascontiguousarray(part).data)
        return {
            "model": weights_digest(self.parent),
            "stem": self.model.config.to_dict()["tokenizer"][self.spec.name],
            "pictures": self.pictures.digest,
            "windows": windows.hexdigest(),
        }

    @property
    def tuned_from(self) -> int:
        """The first step that goes through the backbone."""
        return round(self.recipe.steps * (1 - self.recipe.tuned))

    def step(self) -> StepReport:
        """One step of the optimiser."""
        rng = np.random.default_rng((self.seed, self.steps))
        torch.manual_seed(int(rng.integers(2**31)))
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        tuned = self.steps >= self.tuned_from
        self.stem.train()
        if tuned:
            index = rng.integers(len(self.windows.labels), size=self.recipe.batch)
            places = self.windows.places[index]
        else:
            places = self.pictures.drawn(rng, self.recipe.batch)
        made, taught = self._tokens(places, rng)
        off = (((made - taught) / self.spread) ** 2).mean()
        parts = self._behind(index, made, taught, rng) if tuned else [torch.zeros(())] * 3
        weights = (self.recipe.labels, self.recipe.answers, self.recipe.fused)
        loss = off + sum(weight * part for weight, part in zip(weights, parts))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, self.recipe.max_grad_norm)
        self.optimiser.step()
        self.steps += 1
        share = 1 - min(self.recipe.ema_decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.stem.parameters()), share)
        return StepReport(*(float(part.detach()) for part in (off, *parts)))

    def _rate(self) -> float:
        recipe, turn = self.recipe, self.tuned_from
        begin, end, highest = (0, turn, recipe.learning_rate) if self.steps < turn else (turn, recipe.steps, recipe.tuned_rate)
        t = (self.steps - begin + 1) / max(1, end - begin)
        return highest * min(1.0, t / max(recipe.warmup, 1e-9)) * 0.5 * (1 + math.cos(math.pi * min(t, 1.0)))

    # ---- the camera's tokens

    def _tokens(self, places: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, D) of windows of pictures, by the stem in training and by the old one."""
        seen = torch.from_numpy(places >= 0)
        streamed = np.broadcast_to((rng.random(len(places)) < self.recipe.streamed)[:, None], places.shape)[places >= 0]
        there = places[places >= 0]
        older = self.pictures.older(there, np.where(streamed, rng.integers(1, self.recipe.oldest + 1, len(there)), 0))
        now, before = self._pixels[there], self._pixels[older]
        stale = torch.from_numpy(streamed)[:, None] & self._unchanged(now, before, rng)
        windows = torch.where(stale[..., None, None, None], self.stem.windows(before), self.stem.windows(now))
        light = torch.from_numpy(rng.random((len(there), 2)) < self.recipe.light)  # of the older picture, and of this one
        light = torch.where(stale, light[:, :1], light[:, 1:])
        codes = torch.zeros(*stale.shape, self.stem.options.code)
        for chosen, size in ((~light, 0), (light, len(self.stem.sizes) - 1)):
            if chosen.any():
                codes = codes.masked_scatter(chosen[..., None], self.stem.encode(self._normalised(windows[chosen]), size))
        known = torch.zeros(*places.shape, self.model.config.d_model)
        known = known.masked_scatter(seen[..., None], self.stem.read_out(codes))
        return self.stem.in_motion(known, seen)[0], self.taught[torch.from_numpy(places)]

    def _unchanged(self, now: Tensor, before: Tensor, rng: np.random.Generator) -> Tensor:
        """Windows (n, windows) of which no patch changed by more than a drawn amount, less some that are refreshed."""
        options = self.stem.options
        thin, thin_before = (x[:, :, ::THINNED, ::THINNED].float() for x in (now, before))
        mean = (thin - thin_before).abs().mean(1) / WHITE
        change = patch_view(mean, options.patch // THINNED, options.window).mean(-1).amax(-1)
        low, high = (math.log(x) for x in self.recipe.changed_from)
        limit = torch.from_numpy(np.exp(rng.uniform(low, high, (len(now), 1))).astype(np.float32))
        return (change <= limit) & (torch.rand(change.shape) >= self.recipe.refresh)

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Pixels (..., C, h, w) uint8 as the stem takes them."""
        return (pixels.float() / WHITE - self._mean) / self._std

    # ---- behind the backbone

    def _behind(self, index: np.ndarray, made: Tensor, taught: Tensor, rng: np.random.Generator) -> list[Tensor]:
        """Losses behind the frozen backbone: labels, answers, fused tokens."""
        model, place = self.model, self.place
        present = rng.random(len(model.stems)) >= self.recipe.missing
        present[place] = True
        live = tuple(np.flatnonzero(present).tolist())
        logits, _, _, fused = model.fuse_with_tokens(self._joined(self.windows, index, live, made))
        with torch.no_grad():
            answers, _, _, wanted = self.parent.fuse_with_tokens(self._joined(self.windows, index, live, taught))
        return [
            F.cross_entropy(logits, torch.from_numpy(self.windows.labels[index])),
            F.kl_div(F.log_softmax(logits, 1), F.log_softmax(answers, 1), log_target=True, reduction="batchmean"),
            (fused - wanted).square().mean() / wanted.var(),
        ]

    def _joined(self, windows: LabelledWindows, index: np.ndarray, live: tuple[int, ...], camera: Tensor) -> Tokens:
        """The tokens of the live sensors in the windows ``index``, with ``camera`` (B, N, D) for the camera."""
        known = windows.tokens
        parts = [
            camera + self.model.positions[i] if i == self.place else torch.from_numpy(known.tokens[i, 0][index]).float()
            for i in live
        ]
        return Tokens(torch.cat(parts, 1), torch.cat([torch.from_numpy(known.empty[i][index]) for i in live], 1), live)

    # ---- looking at validation windows

    @torch.no_grad()
    def validate(self, windows: LabelledWindows, pictures: CameraWindows, size: int = 0) -> dict[str, float]:
        """With the averaged weights: share of the old tokens' variance that is lost, accuracies with all sensors and with the
        camera alone, those of the old network, and how often both give the same class."""
        lost: list[float] = []
        right: dict[str, list[np.ndarray]] = {}
        old_right: dict[str, list[np.ndarray]] = {}
        same: dict[str, list[np.ndarray]] = {}
        for index in np.array_split(np.arange(len(windows.labels)), max(1, len(windows.labels) // 128)):
            x = torch.zeros(len(index), *self.spec.shape)
            seen = windows.places[index] >= 0
            x[torch.from_numpy(seen)] = self._normalised(torch.from_numpy(pictures.pixels[windows.places[index][seen]]))
            made, taught = self.ema(x, size)[0], self.parent.stems[self.place](x)[0]
            lost.append(float((((made - taught) / self.spread) ** 2).mean()))
            labels = windows.labels[index]
            for name, live in (("all sensors", tuple(range(len(self.model.stems)))), ("camera alone", (self.place,))):
                sides = (self._joined(windows, index, live, own) for own in (made, taught))
                found = [self.model.fuse(tokens).logits.argmax(1).numpy() for tokens in sides]
                right.setdefault(name, []).append(found[0] == labels)
                old_right.setdefault(name, []).append(found[1] == labels)
                same.setdefault(name, []).append(found[0] == found[1])
        figures = {"tokens lost": float(np.mean(lost))}
        for name in right:
            for what, flags in (("accuracy", right), ("accuracy of the old stem", old_right), ("same class", same)):
                figures[f"{what}, {name}"] = round(float(np.concatenate(flags[name]).mean()), 4)
        return figures


@torch.no_grad()
def taught_tokens(stem: Tokenizer, pictures: CameraWindows) -> Tensor:
    """What a stem that looks at each picture by itself makes of every picture, and last of none (n + 1, D): float32.

    Raises ParameterError for a stem whose tokens depend on other pictures of the window.
    """
    spec = pictures.spec
    mean, std = (torch.tensor(v or d).view(-1, 1, 1) for v, d in ((spec.mean, (0.0,)), (spec.std, (1.0,))))
    x = torch.zeros(2, *spec.shape)
    x[1, 0] = 1.0
    nothing = stem(x)[0]
    if nothing.shape[1] != spec.shape[0] or (nothing[0, 1:] - nothing[1, 1:]).any():
        raise ParameterError(f"old stem of {spec.name!r}", "tokens of several pictures", "one of each picture", "train another")
    found = []
    for pixels in torch.from_numpy(pictures.pixels).split(CHUNK):
        frames = (pixels.float() / WHITE - mean) / std
        fill = -len(frames) % spec.shape[0]
        windows = torch.cat([frames, torch.zeros(fill, *frames.shape[1:])]).unflatten(0, (-1, spec.shape[0]))
        found.append(stem(windows)[0].flatten(0, 1)[: len(frames)])
    return torch.cat([*found, nothing[:1, -1]])


def _patch_stem(model: SentryFuse, place: int) -> PatchTokenizer:
    stem = model.stems[place]
    assert isinstance(stem, PatchTokenizer)
    return stem
