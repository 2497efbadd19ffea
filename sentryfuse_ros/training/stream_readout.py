"""The second stage of a stream's training: what comes after the window encoder learns on from stored codes.

Read-out, temporal convolution, backbone and its parts learn from clips that are encoded whole and from the same clips as a
stream. The moving average of the network, on the whole clip, teaches what a stream and a part of the backbone should answer. A
step of 32 clips takes 0.13 s on one CPU core, where one of the whole network takes some ten seconds on two.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..errors import CheckpointError, reason_of
from ..files import write_atomically
from ..model.dropout import Dropout
from ..model.fuse import SentryFuse
from ..pruning.slicing import choose_plan, slice_weights
from ..pruning.units import SiteKeep
from .optimiser import make_optimiser
from .schedule import Schedule
from .stream_codes import STREAMS, CodeStore
from .stream_recipe import ReadoutRecipe
from .stream_trainer import read_pictures, tokens_in_motion

ENCODER = tuple(f"tokenizers.0.{part}." for part in ("embed", "layers", "norm", "pack")) + ("tokenizers.0.place", "gate.")


class ReadoutReport(NamedTuple):
    """What one step found."""

    loss: Tensor
    correct: Tensor  # share of the clips, whole and streamed


class ReadoutTrainer:
    """Trains a network, in place, but for its window encoder and its gate."""

    def __init__(self, model: SentryFuse, store: CodeStore, recipe: ReadoutRecipe, seed: int):
        self.model, self.store, self.recipe, self.seed = model.requires_grad_(True), store, recipe, seed
        self.ema_model = copy.deepcopy(model).eval().requires_grad_(False)
        for module in model.modules():
            if isinstance(module, Dropout):
                module.chance = recipe.dropout
        self.names = [name for name, _ in model.named_parameters() if not name.startswith(ENCODER)]
        own, averaged = dict(model.named_parameters()), dict(self.ema_model.named_parameters())
        self.weights: list[Tensor] = [own[name] for name in self.names]
        self._averages: list[Tensor] = [averaged[name] for name in self.names]
        self.optimiser = make_optimiser(
            [
                {"params": [p for p in self.weights if p.ndim > 1], "weight_decay": recipe.weight_decay},
                {"params": [p for p in self.weights if p.ndim <= 1], "weight_decay": 0.0},
            ]
        )
        sizes = model.config.fusion_sizes
        self.plans = [choose_plan(model, [True], size.ratio)[: size.layers] for size in sizes[1:]]
        self._schedule = Schedule(warmup=recipe.warmup)
        self.steps = 0

    def step(self) -> ReadoutReport:
        """One step of the optimiser. What it draws depends on the seed and on the number of the step alone."""
        recipe, model = self.recipe, self.model
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * self._schedule.learning_rate(self.steps / recipe.steps)
        torch.manual_seed(self.seed * 1_000_003 + self.steps)
        clips = self._chosen()
        stream = int(np.random.default_rng([self.seed, self.steps, 1]).integers(STREAMS))
        batch = self.store.batch(clips, stream, self.weights[0].device)
        teacher = self.ema_model
        with torch.no_grad():
            whole = read_pictures(teacher, batch.dense, batch.valid)
            target = F.log_softmax(teacher.fuse(tokens_in_motion(teacher, whole, batch.valid)).logits, 1)
        model.train()
        valid, labels = torch.cat([batch.valid] * 2), torch.cat([batch.labels] * 2)
        pictures = read_pictures(model, torch.cat([batch.dense, batch.streamed]), valid, recipe.code_dropout)
        tokens = tokens_in_motion(model, pictures, valid)
        logits = model.fuse(tokens).logits
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        loss = loss + recipe.distill * _divergence(logits[len(clips) :], target)
        for plan in self.plans_now:
            again = model.fuse(tokens, slice_weights(model, plan)).logits
            of_part = F.cross_entropy(again, labels, label_smoothing=recipe.label_smoothing)
            of_part = of_part + recipe.distill * _divergence(again, torch.cat([target, target]))
            loss = loss + of_part * recipe.parts_weight / len(self.plans_now)
        if recipe.tokens:
            known = whole[batch.valid]
            error = F.mse_loss(pictures[len(clips) :][batch.valid], known)
            loss = loss + recipe.tokens * error / known.var(0).mean().clamp_min(1e-6)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, recipe.max_grad_norm)
        self.optimiser.step()
        self.steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self.weights, 1 - min(recipe.ema_decay, self.steps / (9 + self.steps)))
        return ReadoutReport(loss.detach(), (logits.argmax(1) == labels).float().mean())

    @property
    def plans_now(self) -> list[list[SiteKeep]]:
        """The parts of the backbone that learn in this step, in turns."""
        count = min(self.recipe.parts, len(self.plans))
        return [self.plans[(self.steps * count + i) % len(self.plans)] for i in range(count)]

    def _chosen(self) -> np.ndarray:
        """Clips of this step; every clip is taken once before one is taken again."""
        batch, clips = min(self.recipe.batch, len(self.store)), len(self.store)
        epoch, part = divmod(self.steps, clips // batch)
        order = np.random.default_rng([self.seed, epoch]).permutation(clips)
        return np.sort(order[part * batch : (part + 1) * batch])

    # ---- state

    def save(self, path: Path, key: str) -> None:
        """Write weights, their average, optimiser and step, replaced as a whole; ``key`` says what run they are of."""
        tensors = {f"model.{n}": t.detach().contiguous() for n, t in zip(self.names, self.weights)}
        tensors |= {f"average.{n}": t.contiguous() for n, t in zip(self.names, self._averages)}
        for i, slots in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{slot}": t for slot, t in slots.items()}
        write_atomically(path, save_tensors(tensors, {"key": key, "steps": str(self.steps)}))

    def load(self, path: Path, key: str) -> bool:
        """Go on where a run of the same key stopped; False where there is none. Raises CheckpointError on a damaged file."""
        if not path.exists():
            return False
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            tensors = load_tensors(path.read_bytes())
            if metadata["key"] != key:
                return False
            slots: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith("optimiser."):
                    _, index, slot = name.split(".")
                    slots.setdefault(int(index), {})[slot] = tensor
            with torch.no_grad():
                for name, weight, average in zip(self.names, self.weights, self._averages):
                    weight.copy_(tensors[f"model.{name}"])
                    average.copy_(tensors[f"average.{name}"])
            self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})
            self.steps = int(metadata["steps"])
        except (OSError, safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"training state {path}", reason_of(error), "a whole state file", "delete it") from error
        return True


def _divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Of answers (B, classes) from what they should be, log probabilities (B, classes)."""
    return F.kl_div(F.log_softmax(logits, 1), target, log_target=True, reduction="batchmean")
