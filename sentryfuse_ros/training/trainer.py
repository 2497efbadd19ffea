"""The training loop: a full-width pass, a pruned pass, and the gate that learns which units matter."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SentryFuseError
from ..model.config import FuseConfig
from ..model.fuse import SentryFuse, Tokens
from ..model.gate import Scores
from ..pruning.saliency import SaliencyTeacher, alignment_loss, saliency, unit_scales
from ..pruning.slicing import choose_plan, slice_weights
from .distributed import Distributed
from .examples import Examples
from .metrics import StepLosses
from .optimiser import make_optimiser
from .recipe import Recipe

Mask = tuple[bool, ...]


DRAWING_THREADS = 6  # while a GPU trains; numpy works in parallel on arrays of this size


class DrawnBatch(NamedTuple):
    """The examples of one step, as they come from the data set."""

    chosen: np.ndarray  # (B,) places in the data set
    windows: dict[str, np.ndarray]  # modality name -> (B, *spec.shape), live modalities only
    mask: Mask


class Batch(NamedTuple):
    """The examples of one step, on the device that trains."""

    inputs: dict[str, Tensor]  # modality name -> (B, *spec.shape), live modalities only
    labels: Tensor  # (B,)
    steady: Tensor  # (B,) bool: whether the label holds throughout the example
    mask: Mask


class Trainer:
    """Owns the network, its moving average, the optimiser and the saliency teacher. Deterministic by recipe.seed.

    All randomness is drawn from (seed, epoch), so a run that is resumed after a saved epoch equals an unbroken run. A subclass
    may train in another way: it overrides `first_network`, `prepare_gate`, `gate_learns`, `second_pass`, `saliency_mask` or
    `teach`.
    """

    NAME = "first stage"
    UNUSED: tuple[str, ...] = ("elastic",)  # keys of the recipe that this stage does not read

    def __init__(self, recipe: Recipe, examples: Examples, classes: Sequence[str], distributed: Distributed | None = None):
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.threads)
        self.recipe, self.examples, self.distributed = recipe, examples, distributed or Distributed()
        self.device = self.distributed.device(recipe.device)
        # Made on the CPU, so that the first weights are the same on every machine.
        self.model = self.first_network(classes).to(self.device)
        self.prepare_gate()
        self.ema_model = SentryFuse(self.model.config).to(self.device).requires_grad_(False)
        self.ema_model.load_state_dict(self.model.state_dict())
        self.teacher = SaliencyTeacher(recipe.teacher_rate)
        self.optimiser = make_optimiser(self._parameter_groups())
        self._weights = list(self.model.parameters())
        # The gate is copied and not averaged, because its order of units must be the one that was trained with.
        pairs = list(zip(self.model.named_parameters(), self.ema_model.parameters()))
        self._copied = [(ema, weight) for (name, weight), ema in pairs if name.startswith("gate.")]
        self._averaged = [(ema, weight) for (name, weight), ema in pairs if not name.startswith("gate.")]
        self.class_weights = class_weights(examples.labels, len(classes), recipe.balance).to(self.device)
        self.epoch = 0

    def first_network(self, classes: Sequence[str]) -> SentryFuse:
        """The network that training starts from."""
        specs = self.examples.measured(self.recipe.specs)
        config = FuseConfig.from_dict({**self.recipe.model, "modalities": [s.to_dict() for s in specs], "classes": classes})
        return SentryFuse(config)

    def _parameter_groups(self) -> list[dict[str, Any]]:
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
    def begins_with(self) -> dict[str, str]:
        """Digests of what the training begins with, beside the recipe and the examples; a run is not resumed with others."""
        return {}

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the examples."""
        return -(-len(self.examples) // self.recipe.batch)

    def run_epoch(self) -> Iterator[StepLosses]:
        """Pass over the examples once and yield the losses of every step. Raises SentryFuseError when a loss is not finite."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.epoch)
        order = np.random.default_rng([self.recipe.seed, self.epoch]).permutation(len(self.examples))
        parts = [order[step * self.recipe.batch : (step + 1) * self.recipe.batch] for step in range(self.steps_per_epoch)]
        self.model.train()
        for step, drawn in enumerate(self._drawn_batches([self.distributed.share(part) for part in parts])):
            losses = self._step(self._on_device(drawn), self._time(step), np.random.default_rng([*self._seed(step), 1]))
            if not np.isfinite(total := losses.full + losses.pruned):
                raise SentryFuseError(
                    f"training loss in epoch {self.epoch + 1}, step {step + 1}",
                    f"{total} on " + ", ".join(self.examples.names(drawn.chosen[:3])) + ", ...",
                    "a finite number",
                    "lower learning_rate, or look for wild values in these recordings",
                )
            yield losses
        self.epoch += 1

    def _time(self, step: int) -> float:
        """How far the training is at a step of this epoch, 0 to 1."""
        return (self.epoch * self.steps_per_epoch + step) / (self.recipe.epochs * self.steps_per_epoch)

    def _seed(self, step: int) -> tuple[int, ...]:
        return (self.recipe.seed, self.epoch, step)

    def _drawn_batches(self, parts: Sequence[np.ndarray]) -> Iterator[DrawnBatch]:
        """The batches of an epoch, in order. A GPU does not wait for them: some threads draw ahead."""
        if self.device.type == "cpu":
            yield from map(self._draw, range(len(parts)), parts)
            return
        with ThreadPoolExecutor(DRAWING_THREADS) as pool:
            ahead: deque[Future[DrawnBatch]] = deque()
            for step, part in enumerate(parts):
                ahead.append(pool.submit(self._draw, step, part))
                if len(ahead) > 2 * DRAWING_THREADS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _draw(self, step: int, chosen: np.ndarray) -> DrawnBatch:
        """Draw the mask and the augmented windows of a step. Ranks draw windows of their own, and all draw the same mask."""
        rng = np.random.default_rng([*self._seed(step), 0])
        mask = self.recipe.schedule.draw_mask(self._time(step), len(self.model.lengths), rng)
        live = [spec for spec, here in zip(self.model.config.modalities, mask) if here]
        own = np.random.default_rng([*self._seed(step), 2 + self.distributed.rank])
        return DrawnBatch(chosen, self.examples.inputs(chosen, live, own), mask)

    def _on_device(self, drawn: DrawnBatch) -> Batch:
        inputs = {n: torch.from_numpy(x).to(self.device) for n, x in drawn.windows.items()}
        labels, steady = (torch.from_numpy(of_all[drawn.chosen]) for of_all in (self.examples.labels, self.examples.steady))
        return Batch(inputs, labels.to(self.device), steady.to(self.device), drawn.mask)

    def _step(self, batch: Batch, t: float, rng: np.random.Generator) -> StepLosses:
        recipe, schedule, model = self.recipe, self.recipe.schedule, self.model
        learning = t < schedule.freeze_at and self.gate_learns
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * schedule.learning_rate(t)

        tokens = model.tokens(batch.inputs, batch.mask)  # shared by both passes
        scales = unit_scales(model.config, len(batch.labels), self.device) if learning else None
        full = model.fuse(tokens, scales=scales).logits
        loss_full = self.cross_entropy(full, batch.labels)

        scores = model.gate(torch.tensor(batch.mask, device=self.device))
        again = self.second_pass(tokens, batch.mask, scores, schedule.draw_ratio(t, rng), schedule.tau(t))
        loss_again, distill = loss_full.new_zeros(()), loss_full.new_zeros(())
        if again is not None:
            loss_again = self.cross_entropy(again, batch.labels)
            distill = F.kl_div(F.log_softmax(again, 1), F.log_softmax(full.detach(), 1), log_target=True, reduction="batchmean")
        loss = loss_full + loss_again + recipe.distill * distill

        target = self.teacher.target(self.saliency_mask(batch.mask)) if learning else None
        loss_gate = None if target is None else alignment_loss(scores, target)
        if loss_gate is not None:
            loss = loss + recipe.gate_loss * loss_gate
        gate = float("nan") if loss_gate is None else loss_gate.item()
        losses = StepLosses(loss_full.item(), loss_again.item(), distill.item(), gate, float("nan"))
        if not torch.isfinite(loss):
            return losses  # before the weights are spoilt; the caller knows which examples these were
        return losses._replace(gradient=self._descend(loss, scales, batch.mask, t))

    def _descend(self, loss: Tensor, scales: Sequence | None, mask: Mask, t: float) -> float:
        """Take the optimiser step, teach the teacher, move the average; returns the norm of the gradient."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.distributed.average(p.grad for p in self._weights if p.grad is not None)
        if scales is not None:
            measured = saliency(scales)
            self.distributed.average(measured)
            self.teach(mask, measured)
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self.recipe.max_grad_norm, foreach=True).item()
        self.optimiser.step()
        self._update_ema(t)
        return norm

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss on the labels, with the class weights and label smoothing of the recipe."""
        return F.cross_entropy(logits, labels, self.class_weights, label_smoothing=self.recipe.label_smoothing)

    def prepare_gate(self) -> None:
        """Called once, when the network has its first weights. The gate then learns an order of units for every mask."""

    @property
    def gate_learns(self) -> bool:
        """Whether the gate is trained at all."""
        return True

    def second_pass(self, tokens: Tokens, mask: Mask, scores: Scores, ratio: float, tau: float) -> Tensor | None:
        """Logits (B, classes) of the network pruned to ``ratio`` by the gate's scores; None leaves the second pass out."""
        plan = choose_plan(self.model, mask, ratio, add_gumbel_noise(scores, tau))
        return self.model.fuse(tokens, slice_weights(self.model, plan)).logits

    def saliency_mask(self, mask: Mask) -> Mask:
        """The mask whose saliency the gate learns from in a batch with ``mask``."""
        return mask

    def teach(self, mask: Mask, measured: Scores) -> None:
        """Blend a measured saliency into the teacher's average."""
        self.teacher.update(self.saliency_mask(mask), measured)

    @torch.no_grad()
    def _update_ema(self, t: float) -> None:
        """Move the averaged weights towards the weights. Early in the training the average is short."""
        steps = t * self.recipe.epochs * self.steps_per_epoch
        rate = 1.0 - min(self.recipe.ema_decay, (1 + steps) / (10 + steps))
        for pairs, share in ((self._copied, 1.0), (self._averaged, rate)):
            torch._foreach_lerp_([ema for ema, _ in pairs], [weight for _, weight in pairs], share)


def add_gumbel_noise(scores: Scores, tau: float) -> Scores:
    """The scores without gradient, plus Gumbel noise of scale ``tau``; nothing is drawn for tau 0."""
    heads, channels = scores[0].detach(), scores[1].detach()
    if tau == 0.0:
        return heads, channels
    return _gumbel(heads, tau), _gumbel(channels, tau)


def _gumbel(scores: Tensor, tau: float) -> Tensor:
    return scores - tau * torch.log(-torch.log(torch.rand_like(scores).clamp(1e-9, 1 - 1e-7)))


def class_weights(labels: np.ndarray, classes: int, power: float) -> torch.Tensor:
    """Labels (n,) -> weight per class (classes,), count ** -power, of mean 1 over the examples; all 1 for power 0."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1).astype(np.float64)
    weights = counts**-power
    return torch.from_numpy((weights / (weights * counts).sum() * counts.sum()).astype(np.float32))
