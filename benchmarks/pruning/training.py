"""How the networks of the study are trained: the product's training with the switches that the controls need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from rich.console import Console
from torch import Tensor

from sentryfuse_ros.model.fuse import SentryFuse, Tokens
from sentryfuse_ros.model.gate import Scores
from sentryfuse_ros.model.saved import load_checkpoint, save_checkpoint
from sentryfuse_ros.model.subnetwork import Subnetwork
from sentryfuse_ros.pruning.slicing import slice_weights
from sentryfuse_ros.pruning.units import SiteKeep
from sentryfuse_ros.training.elastic_trainer import ElasticTrainer
from sentryfuse_ros.training.examples import Examples
from sentryfuse_ros.training.recipe import Recipe
from sentryfuse_ros.training.run import fit
from sentryfuse_ros.training.state import STATE_FILE, load_state
from sentryfuse_ros.training.trainer import Mask, Trainer, add_gumbel_noise
from sentryfuse_ros.validation import one_of

from .budgets import study_plan
from .examples import load_examples
from .runs import Run, specification
from .whole.parts import PartUnits

FIRST_STAGE = "first"  # folder of the first stage, where there are two


@dataclass(frozen=True)
class StudyRecipe(Recipe):
    """A recipe with the switches of the controls. With the defaults it trains as `sentryfuse train` does."""

    # "pruned"; "full": the same width again, which is self-distillation alone; "none"
    second_pass: Annotated[str, one_of(("pruned", "full", "none"))] = "pruned"
    # "mask": the gate learns an order of units per mask; "blind": one order for all masks; "fixed": a random order, not learned
    gate: Annotated[str, one_of(("mask", "blind", "fixed"))] = "mask"
    spend_freed: bool = True  # whether the pruned pass spends what absent sensors free


def recipe_of(run: Run) -> StudyRecipe:
    """The recipe of a run."""
    return StudyRecipe.from_dict(specification(run))


class StudyTrainer(Trainer):
    """The product's trainer with the switches of `StudyRecipe`."""

    recipe: StudyRecipe

    def __init__(self, recipe: StudyRecipe, examples: Examples, classes: Sequence[str]):
        super().__init__(recipe, examples, classes)

    def prepare_gate(self) -> None:
        """Make the gate blind to the mask, or its order a random one that stays, where the recipe says so."""
        if self.recipe.gate == "mask":
            return
        gate = self.model.gate
        gate.hidden.requires_grad_(False)
        torch.nn.init.zeros_(gate.score.requires_grad_(False).weight)
        if self.recipe.gate == "fixed":
            random = torch.rand(gate.static.shape, generator=torch.Generator().manual_seed(self.recipe.seed))
            gate.static.requires_grad_(False).copy_(random)

    @property
    def gate_learns(self) -> bool:
        return self.recipe.second_pass == "pruned" and self.recipe.gate != "fixed"

    def second_pass(self, tokens: Tokens, mask: Mask, scores: Scores, ratio: float, tau: float) -> Tensor | None:
        if self.recipe.second_pass == "none":
            return None
        if self.recipe.second_pass == "full":
            return self.model.fuse(tokens).logits  # the same network, but with other units dropped out
        # A fixed order is that of the random scores, so no noise may be added to them.
        noisy = add_gumbel_noise(scores, 0.0 if self.recipe.gate == "fixed" else tau)
        plan = study_plan(self.model, mask, ratio, noisy, spend_freed=self.recipe.spend_freed)
        return self.model.fuse(tokens, slice_weights(self.model, plan)).logits

    def saliency_mask(self, mask: Mask) -> Mask:
        """A gate that is blind to the mask learns from the saliency of all masks together."""
        return (True,) * len(mask) if self.recipe.gate == "blind" else mask

    def teach(self, mask: Mask, measured: Scores) -> None:
        known = self.teacher.target(self.saliency_mask(mask))
        if self.recipe.gate == "blind" and known is not None:
            # Sites of absent streams were not measured, so what is known of them stays.
            heads, channels = (
                torch.where(new.sum(1, keepdim=True) > 0, new, old) for new, old in zip(measured, known, strict=True)
            )
            measured = heads, channels
        super().teach(mask, measured)


class StudyElasticTrainer(ElasticTrainer):
    """The product's second stage with the switches of `StudyRecipe`. The gate stays as the first stage made it."""

    recipe: StudyRecipe

    def channel_saliency(self, model: SentryFuse) -> list[list[Tensor]]:
        """Of the stems' channels too, a fixed order is random."""
        if self.recipe.gate != "fixed":
            return super().channel_saliency(model)
        generator = torch.Generator().manual_seed(self.recipe.seed)
        return [[torch.rand(conv.out_channels, generator=generator) for conv, _ in s.convolutions()] for s in model.stems]

    def units(self, part: Subnetwork) -> list[SiteKeep]:
        return PartUnits(self.model, spend_freed=self.recipe.spend_freed)(part)


def trained(run: Run, cache: Path) -> SentryFuse:
    """The trained network of a run, in evaluation mode. Trains it where the cache has none, and resumes a stopped training.

    Two processes must not do so at once: `store.run_or_read` lets one wait for the other.
    """
    folder = cache / run.name
    if not _finished(folder):
        recipe, (examples, classes) = recipe_of(run), load_examples(run.task, "train")
        first = folder / FIRST_STAGE if recipe.elastic.epochs else folder
        if not _finished(first):
            _train(run, StudyTrainer(recipe, examples, classes), first)
        if recipe.elastic.epochs:
            _train(run, StudyElasticTrainer(recipe, examples, classes, load_checkpoint(first)[0]), folder)
    return load_checkpoint(folder)[0]


def _finished(folder: Path) -> bool:
    return (folder / "model.json").exists()


def _train(run: Run, trainer: StudyTrainer | StudyElasticTrainer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / STATE_FILE).exists():
        load_state(trainer, folder)
    fit(trainer, folder, None, Console(quiet=True))
    save_checkpoint(trainer.ema_model, folder, {"data": {"run": list(run), "train_examples": len(trainer.examples)}})
    (folder / STATE_FILE).unlink()
