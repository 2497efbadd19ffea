"""The training loop: full-width pass, pruned pass, and the gate that learns which units matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.recording import Recording
from ..errors import SentryFuseError
from ..modalities.inputs import ModalitySpec
from ..model.config import FuseConfig
from ..model.fuse import SentryFuse
from ..pruning.saliency import SaliencyTeacher, alignment_loss, saliency, unit_scales
from ..pruning.slicing import choose_plan, slice_weights
from .recipe import Recipe
from .windows import random_window, stack


def measure_specs(specs: Sequence[ModalitySpec], recordings: Sequence[Recording]) -> tuple[ModalitySpec, ...]:
    """Fill in mean and std where a spec has none: over all rows of the recordings; depth over its returns only."""
    out = []
    for spec in specs:
        if spec.mean and spec.std:
            out.append(spec)
            continue
        streams = [r.streams[spec.name] for r in recordings]
        if spec.kind == "camera" and spec.encoding == "depth_m":
            relative = bool(spec.options.get("relative_depth"))
            values = [s.rows[s.rows > 0][::7] for s in streams]  # every 7th return is plenty
            values = np.concatenate([v - np.median(v) if relative else v for v in values])[:, None]
            mean = np.zeros(1) if relative else values.mean(0)
        else:
            rows = [np.moveaxis(s.rows, 1, -1).reshape(-1, spec.channels) for s in streams]
            values = np.concatenate(rows).astype(np.float64)
            mean = values.mean(0)
        std = np.maximum(values.std(0), 1e-6)
        out.append(replace(spec, mean=tuple(round(float(m), 6) for m in mean), std=tuple(round(float(s), 6) for s in std)))
    return tuple(out)


class Trainer:
    """Owns the network, its moving average, the optimiser and the saliency teacher. Deterministic by recipe.seed.

    All randomness is drawn from (seed, epoch), so a run that continues from a saved epoch is the same run.
    """

    def __init__(self, recipe: Recipe, recordings: Sequence[Recording], classes: Sequence[str]):
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.threads)
        self.recipe, self.recordings = recipe, list(recordings)
        specs = measure_specs(recipe.specs, self.recordings)
        config = FuseConfig.from_dict({**recipe.model, "modalities": [s.to_dict() for s in specs], "classes": classes})
        self.model = SentryFuse(config)
        self.average = SentryFuse(config).requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.teacher = SaliencyTeacher(recipe.teacher_rate)
        self.optimiser = torch.optim.AdamW(self._parameter_groups(), betas=(0.9, 0.98))
        self.epoch = 0

    def _parameter_groups(self) -> list[dict]:
        gate = list(self.model.gate.parameters())
        rest = [p for n, p in self.model.named_parameters() if not n.startswith("gate.")]
        r = self.recipe
        groups = [([p for p in rest if p.ndim > 1], r.learning_rate, r.weight_decay),
                  ([p for p in rest if p.ndim <= 1], r.learning_rate, 0.0), (gate, r.gate_learning_rate, 0.0)]
        return [{"params": p, "lr": lr, "base_lr": lr, "weight_decay": decay} for p, lr, decay in groups]

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the recordings."""
        return -(-len(self.recordings) // self.recipe.batch)

    def run_epoch(self) -> Iterator[dict[str, float]]:
        """One pass; yields the losses of every step. Raises SentryFuseError when the loss is no longer a number."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch])
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.epoch)
        order = rng.permutation(len(self.recordings))
        self.model.train()
        for step in range(self.steps_per_epoch):
            chosen = [self.recordings[i] for i in order[step * self.recipe.batch:(step + 1) * self.recipe.batch]]
            t = (self.epoch * self.steps_per_epoch + step) / (self.recipe.epochs * self.steps_per_epoch)
            mask = self.recipe.schedule.draw_mask(t, len(self.model.lengths), rng)
            live = [spec for spec, here in zip(self.model.config.modalities, mask) if here]
            windows = [random_window(r, live, self.recipe.augment, rng) for r in chosen]
            yield self._step({n: torch.from_numpy(x) for n, x in stack(windows).items()},
                             torch.tensor([r.label for r in chosen]), mask, t, rng)
        self.epoch += 1

    def _step(self, inputs: dict[str, Tensor], labels: Tensor, mask: tuple[bool, ...], t: float,
              rng: np.random.Generator) -> dict[str, float]:
        recipe, schedule, model = self.recipe, self.recipe.schedule, self.model
        learning = t < schedule.freeze_at
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * schedule.learning_rate(t)

        tokens = model.tokens(inputs, mask)  # shared by both passes
        scales = unit_scales(model.config, len(labels)) if learning else None
        full = model.fuse(tokens, scales=scales).logits
        loss_full = F.cross_entropy(full, labels, label_smoothing=recipe.label_smoothing)

        scores = model.gate(torch.tensor(mask))
        noisy = self._noise(scores, schedule.tau(t))
        plan = choose_plan(model, mask, schedule.draw_ratio(t, rng), noisy)
        pruned = model.fuse(tokens, slice_weights(model, plan)).logits
        loss_pruned = F.cross_entropy(pruned, labels, label_smoothing=recipe.label_smoothing)
        distill = F.kl_div(F.log_softmax(pruned, 1), F.log_softmax(full.detach(), 1), log_target=True,
                           reduction="batchmean")
        loss = loss_full + loss_pruned + recipe.distill * distill

        target = self.teacher.target(mask) if learning else None
        loss_gate = alignment_loss(scores, target) if target is not None else None
        if loss_gate is not None:
            loss = loss + recipe.gate_loss * loss_gate
        if not torch.isfinite(loss):
            raise SentryFuseError(f"training loss in epoch {self.epoch + 1}", loss.item(), "a finite number",
                                  "lower learning_rate, or look for NaN in the recordings")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if scales is not None:
            self.teacher.update(mask, saliency(scales))
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        self.optimiser.step()
        self._follow(t)
        return {"full": loss_full.item(), "pruned": loss_pruned.item(), "distill": distill.item(),
                "gate": float("nan") if loss_gate is None else loss_gate.item(), "gradient": norm.item()}

    @staticmethod
    def _noise(scores: tuple[Tensor, Tensor], tau: float) -> tuple[Tensor, Tensor]:
        if tau == 0.0:
            return scores[0].detach(), scores[1].detach()
        return tuple(s.detach() - tau * torch.log(-torch.log(torch.rand_like(s).clamp(1e-9, 1 - 1e-7))) for s in scores)

    @torch.no_grad()
    def _follow(self, t: float) -> None:
        """Move the average towards the weights; the gate is copied, its ranking must be the one trained with."""
        steps = t * self.recipe.epochs * self.steps_per_epoch
        rate = 1.0 - min(self.recipe.ema, (1 + steps) / (10 + steps))
        for (name, slow), fast in zip(self.average.named_parameters(), self.model.parameters()):
            slow.lerp_(fast, 1.0 if name.startswith("gate.") else rate)
