"""The training loop: full-width pass, pruned pass, and the gate that learns which units matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CheckpointError, SentryFuseError
from ..model.config import FuseConfig
from ..model.fuse import SentryFuse, Tokens
from ..model.gate import SentryGate
from ..pruning.saliency import SaliencyTeacher, alignment_loss, saliency, unit_scales
from ..pruning.slicing import choose_plan, slice_weights
from .distributed import Ranks
from .examples import Examples
from .recipe import Recipe


class Trainer:
    """Owns the network, its moving average, the optimiser and the saliency teacher. Deterministic by recipe.seed.

    All randomness is drawn from (seed, epoch), so a run that continues from a saved epoch is the same run. The full-width
    pass also learns from ``dense_teachers``, trained networks of the same modalities and classes, where there are any.
    """

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        classes: Sequence[str],
        ranks: Ranks | None = None,
        dense_teachers: Sequence[SentryFuse] = (),
    ):
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.threads)
        self.recipe, self.examples, self.ranks = recipe, examples, ranks or Ranks()
        self.device = self.ranks.device(recipe.device)
        specs = examples.measured(recipe.specs)
        config = FuseConfig.from_dict({**recipe.model, "modalities": [s.to_dict() for s in specs], "classes": classes})
        # Made on the CPU, so that the first weights are the same on every machine.
        self.model = SentryFuse(config).to(self.device)
        prepare_gate(self.model.gate, recipe)
        self.average = SentryFuse(config).to(self.device).requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.teacher = SaliencyTeacher(recipe.teacher_rate)
        for number, net in enumerate(dense_teachers, 1):
            check_dense_teacher(net, config, f"dense teacher {number}")
            net.to(self.device).eval().requires_grad_(False)
        self.dense_teachers = list(dense_teachers)
        self.optimiser = make_optimiser(self._parameter_groups())
        self._weights = list(self.model.parameters())
        # The gate is copied: its ranking must be the one trained with.
        gate = [name.startswith("gate.") for name, _ in self.model.named_parameters()]
        pairs = list(zip(gate, self.average.parameters(), self._weights))
        self._copied, self._followed = ([pair[1:] for pair in pairs if pair[0] == kind] for kind in (True, False))
        self.class_weights = class_weights(examples.labels, len(classes), recipe.balance).to(self.device)
        self.epoch = 0

    def _parameter_groups(self) -> list[dict]:
        gate = list(self.model.gate.parameters())
        rest = [p for n, p in self.model.named_parameters() if not n.startswith("gate.")]
        r = self.recipe
        groups = [
            ([p for p in rest if p.ndim > 1], r.learning_rate, r.weight_decay),
            ([p for p in rest if p.ndim <= 1], r.learning_rate, 0.0),
            (gate, r.gate_learning_rate, 0.0),
        ]
        return [{"params": p, "lr": lr, "base_lr": lr, "weight_decay": decay} for p, lr, decay in groups]

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the examples."""
        return -(-len(self.examples) // self.recipe.batch)

    def run_epoch(self) -> Iterator[dict[str, float]]:
        """One pass; yields the losses of every step. Raises SentryFuseError when the loss is no longer a number."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch])
        # Windows are drawn apart where there are several ranks: each sees its own, all draw the same masks.
        own = rng if self.ranks.count == 1 else np.random.default_rng([self.recipe.seed, self.epoch, self.ranks.rank])
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.epoch)
        order = rng.permutation(len(self.examples))
        self.model.train()
        for step in range(self.steps_per_epoch):
            chosen = self.ranks.share(order[step * self.recipe.batch : (step + 1) * self.recipe.batch])
            t = (self.epoch * self.steps_per_epoch + step) / (self.recipe.epochs * self.steps_per_epoch)
            mask = self.recipe.schedule.draw_mask(t, len(self.model.lengths), rng)
            live = [spec for spec, here in zip(self.model.config.modalities, mask) if here]
            inputs = {n: torch.from_numpy(x).to(self.device) for n, x in self.examples.inputs(chosen, live, own).items()}
            labels = torch.from_numpy(self.examples.labels[chosen]).to(self.device)
            losses = self._step(inputs, labels, mask, t, rng)
            if not np.isfinite(total := losses["full"] + losses["pruned"] + losses["dense_distill"]):
                raise SentryFuseError(
                    f"training loss in epoch {self.epoch + 1}, step {step + 1}",
                    f"{total} on " + ", ".join(self.examples.names(chosen[:3])) + ", ...",
                    "a finite number",
                    "lower learning_rate, or look for wild values in these recordings"
                    + (", or in what dense_teachers were trained on" if self.dense_teachers else ""),
                )
            yield losses
        self.epoch += 1

    def _step(
        self, inputs: dict[str, Tensor], labels: Tensor, mask: tuple[bool, ...], t: float, rng: np.random.Generator
    ) -> dict[str, float]:
        recipe, schedule, model = self.recipe, self.recipe.schedule, self.model
        learning = t < schedule.freeze_at and recipe.learns_order
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * schedule.learning_rate(t)

        tokens = model.tokens(inputs, mask)  # shared by both passes
        scales = unit_scales(model.config, len(labels), self.device) if learning else None
        full = model.fuse(tokens, scales=scales).logits
        loss_full = F.cross_entropy(full, labels, self.class_weights, label_smoothing=recipe.label_smoothing)
        dense_distill = self._from_dense_teachers(full, inputs, mask)

        scores = model.gate(torch.tensor(mask, device=self.device))
        again = self._second_pass(tokens, mask, scores, schedule.draw_ratio(t, rng), schedule.tau(t))
        loss_again, distill = loss_full.new_zeros(()), loss_full.new_zeros(())
        if again is not None:
            loss_again = F.cross_entropy(again, labels, self.class_weights, label_smoothing=recipe.label_smoothing)
            distill = F.kl_div(F.log_softmax(again, 1), F.log_softmax(full.detach(), 1), log_target=True, reduction="batchmean")
        loss = loss_full + recipe.dense_distill * dense_distill + loss_again + recipe.distill * distill

        target = self.teacher.target(self._saliency_mask(mask)) if learning else None
        loss_gate = alignment_loss(scores, target) if target is not None else None
        if loss_gate is not None:
            loss = loss + recipe.gate_loss * loss_gate
        losses = {
            "full": loss_full.item(),
            "pruned": loss_again.item(),
            "distill": distill.item(),
            "dense_distill": dense_distill.item(),
            "gate": float("nan") if loss_gate is None else loss_gate.item(),
            "gradient": float("nan"),
        }
        if not torch.isfinite(loss):
            return losses  # before the weights are spoilt; the caller knows which examples these were
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average(p.grad for p in self._weights if p.grad is not None)
        if scales is not None:
            measured = saliency(scales)
            self.ranks.average(measured)
            self._teach(mask, measured)
        losses["gradient"] = torch.nn.utils.clip_grad_norm_(self._weights, recipe.max_grad_norm, foreach=True).item()
        self.optimiser.step()
        self._follow(t)
        return losses

    def _from_dense_teachers(self, full: Tensor, inputs: dict[str, Tensor], mask: tuple[bool, ...]) -> Tensor:
        """How far the full-width answer is from the mean of the dense teachers', who see the same sensors; 0 without any."""
        if not self.dense_teachers or not self.recipe.dense_distill:
            return full.new_zeros(())
        t = self.recipe.dense_temperature
        with torch.no_grad():
            answer = torch.stack([net(inputs, mask).logits for net in self.dense_teachers]).mean(0)
        return t * t * F.kl_div(F.log_softmax(full / t, 1), F.log_softmax(answer / t, 1), log_target=True, reduction="batchmean")

    def _second_pass(
        self, tokens: Tokens, mask: tuple[bool, ...], scores: tuple[Tensor, Tensor], ratio: float, tau: float
    ) -> Tensor | None:
        """Logits (B, classes) of the recipe's second pass; None if it has none."""
        if self.recipe.second_pass == "none":
            return None
        if self.recipe.second_pass == "full":
            return self.model.fuse(tokens).logits  # the same network, but for dropout
        # A fixed order is that of the random scores, so nothing may be added to them.
        noisy = self._noise(scores, 0.0 if self.recipe.gate == "fixed" else tau)
        plan = choose_plan(self.model, mask, ratio, noisy, spend_freed=self.recipe.spend_freed)
        return self.model.fuse(tokens, slice_weights(self.model, plan)).logits

    def _saliency_mask(self, mask: tuple[bool, ...]) -> tuple[bool, ...]:
        """The mask whose saliency the gate learns from: a blind one knows only one."""
        return (True,) * len(mask) if self.recipe.gate == "blind" else mask

    def _teach(self, mask: tuple[bool, ...], measured: tuple[Tensor, Tensor]) -> None:
        """Blend a measurement into the teacher's average."""
        known = self.teacher.target(self._saliency_mask(mask))
        if self.recipe.gate == "blind" and known is not None:
            # Sites of absent streams were not measured, so what is known of them stays.
            measured = tuple(torch.where(new.sum(1, keepdim=True) > 0, new, old) for new, old in zip(measured, known))
        self.teacher.update(self._saliency_mask(mask), measured)

    @staticmethod
    def _noise(scores: tuple[Tensor, Tensor], tau: float) -> tuple[Tensor, Tensor]:
        if tau == 0.0:
            return scores[0].detach(), scores[1].detach()
        return tuple(s.detach() - tau * torch.log(-torch.log(torch.rand_like(s).clamp(1e-9, 1 - 1e-7))) for s in scores)

    @torch.no_grad()
    def _follow(self, t: float) -> None:
        """Move the average towards the weights."""
        steps = t * self.recipe.epochs * self.steps_per_epoch
        rate = 1.0 - min(self.recipe.ema_decay, (1 + steps) / (10 + steps))
        for pairs, share in ((self._copied, 1.0), (self._followed, rate)):
            torch._foreach_lerp_(*map(list, zip(*pairs)), share)


def make_optimiser(groups: list[dict]) -> torch.optim.Optimizer:
    """AdamW, all weights in one call where torch can (on a CPU from 2.4 on): one by one is a tenth of a small net's step."""
    try:
        return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
    except RuntimeError:
        return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def check_dense_teacher(teacher: SentryFuse, config: FuseConfig, which: str) -> None:
    """Raises CheckpointError where a network cannot answer for one of ``config``: it must be given the same numbers."""
    remedy = "name one in dense_teachers that was trained on the same data with the same modalities"
    parts = [
        ("classes", list(teacher.config.classes), list(config.classes)),
        ("modalities", list(teacher.config.names), list(config.names)),
    ]
    for theirs, ours in zip(teacher.config.modalities, config.modalities):
        theirs, ours = theirs.to_dict(), ours.to_dict()
        parts += [(f"modality {ours['name']!r} {key}", theirs.get(key), ours[key]) for key in ours]
    for part, seen, expected in parts:
        if seen != expected:
            raise CheckpointError(f"{which}, {part}", seen, expected, remedy)


def prepare_gate(gate: SentryGate, recipe: Recipe) -> None:
    """Make a gate blind to the mask, or its order a random one that stays, where the recipe says so."""
    if recipe.gate == "mask":
        return
    gate.hidden.requires_grad_(False)
    torch.nn.init.zeros_(gate.score.requires_grad_(False).weight)
    if recipe.gate == "fixed":
        random = torch.rand(gate.static.shape, generator=torch.Generator().manual_seed(recipe.seed))
        gate.static.requires_grad_(False).copy_(random)


def class_weights(labels: np.ndarray, classes: int, power: float) -> torch.Tensor:
    """Labels (n,) -> weight per class (classes,), count ** -power, of mean 1 over the examples; all 1 for power 0."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1).astype(np.float64)
    weights = counts**-power
    return torch.from_numpy((weights / (weights * counts).sum() * counts.sum()).astype(np.float32))
