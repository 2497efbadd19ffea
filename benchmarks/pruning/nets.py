"""The nets of the comparison: which there are, how each is trained, and in which order; a trained one is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from sentryfuse_ros.model.checkpoint import load_checkpoint, save_checkpoint
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.training.recipe import Recipe
from sentryfuse_ros.training.run import fit
from sentryfuse_ros.training.state import STATE_FILE, load_state
from sentryfuse_ros.training.trainer import Trainer

from . import people
from .applications import APPLICATIONS, Application, load_examples
from .variants import GROUPS, RATIO_MAX, RICH, VARIANTS

TRAINING = 1  # version of how a recipe is trained; nets of another are trained again
QUICK_SHARE = 3  # --quick trains for so many times fewer epochs


class Net(NamedTuple):
    """One training run."""

    application: str
    backbone: str
    variant: str
    seed: int
    quick: bool = False

    @property
    def name(self) -> str:
        """Folder of the cache; the hash is the recipe's, so that a changed recipe is another net."""
        return f"{self.application}-{self.backbone}-{self.variant}-{self.seed}-{recipe_hash(self)}"


def recipe_of_application(application: Application) -> Recipe:
    """What all its nets have in common; one thread and, where there is one, a CUDA device."""
    return Recipe.from_dict(
        {
            "dataset": application.dataset,
            "modalities": list(application.modalities),
            "train_groups": list(application.train),
            "validation_groups": list(application.validation),
            "test_groups": list(application.test),
            "model": application.model("early"),
            **application.training,
            "schedule": {"ratio_max": RATIO_MAX, **application.training.get("schedule", {})},
        }
    )


def recipe_of(net: Net) -> Recipe:
    """The recipe of a net."""
    application = APPLICATIONS[net.application]
    recipe, variant = recipe_of_application(application), VARIANTS[net.variant]
    model = application.model(net.backbone)
    if variant.dense_attention:
        shape = FuseConfig(modalities=recipe.specs, classes=("a", "b"), **model).dense_attention()
        model |= {k: getattr(shape, k) for k in ("num_kv_heads", "heads_per_group", "kv_pattern", "kv_stride")}
    heads = model["num_kv_heads"] * model["heads_per_group"]
    if variant.num_kv_heads:
        model |= {"num_kv_heads": variant.num_kv_heads, "heads_per_group": heads // variant.num_kv_heads}
    elif variant.rich:
        rich = application.best_and_worst[("best", "worst").index(variant.rich)]
        model |= {"num_kv_heads": {n: RICH if n == rich else 1 for n in application.names}, "heads_per_group": heads // RICH}
    epochs = max(1, recipe.epochs // QUICK_SHARE) if net.quick else recipe.epochs
    return replace(recipe, model=model, seed=net.seed, epochs=epochs, **variant.recipe)


def recipe_hash(net: Net) -> str:
    """Eight hex digits of everything that the trained weights depend on."""
    values = {
        k: v
        for k, v in recipe_of(net).to_dict().items()
        if k not in ("threads", "device", "validate_every") and not k.startswith("dense_")
    }  # none has dense teachers
    values["training"] = TRAINING
    if APPLICATIONS[net.application].people:
        values["people"] = [people.TURN_DEG, people.BUILD, people.MOUNT_DEG, people.SCALE]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def trained(net: Net, cache: Path) -> tuple[SentryFuse, dict[str, Any]]:
    """The trained net in evaluation mode, and its JSON. Trains it where the cache has none; a stopped training goes on.

    Two runs must not do so at once: `cells.run_cell` lets one wait for the other.
    """
    folder = cache / net.name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.json").exists():
        _train(net, folder)
    return load_checkpoint(folder)


def _train(net: Net, folder: Path) -> None:
    examples, classes = load_examples(net.application, "train")
    trainer = Trainer(recipe_of(net), examples, classes)
    if (folder / STATE_FILE).exists():
        load_state(trainer, folder)
    fit(trainer, folder, None, Console(quiet=True))
    save_checkpoint(trainer.average, folder, {"data": {"net": list(net), "train_examples": len(examples)}})
    (folder / STATE_FILE).unlink()


def nets(
    applications: Sequence[str], backbones: Sequence[str], seeds: Sequence[int], variants: Sequence[str], quick: bool = False
) -> list[Net]:
    """All nets asked for, those that say most first: seed by seed the comparison itself, whole networks and the
    controls that figures rest on; then the other controls, on one backbone, and the numbers of K/V groups."""
    found = [
        Net(a, b, v, s, quick)
        for a in applications
        if APPLICATIONS[a].pruning
        for b in backbones
        for v in variants
        for s in seeds
        if b in (VARIANTS[v].backbones or backbones) and not (VARIANTS[v].explains and b != backbones[0])
    ]
    # The accuracy of the whole network is asked of one backbone.
    found += [
        Net(a, backbones[0], "joint", s, quick)
        for a in applications
        if not APPLICATIONS[a].pruning
        for s in seeds
        if "joint" in variants
    ]
    return sorted(found, key=lambda net: _turn(net, backbones, seeds))


def _turn(net: Net, backbones: Sequence[str], seeds: Sequence[int]) -> tuple:
    """Stage, seed, place in the seed; then any order that stays."""
    stage = 1 if VARIANTS[net.variant].explains or net.variant in GROUPS else 0
    place = 1 if not APPLICATIONS[net.application].pruning else 0 if net.variant in ("joint", "normal") else 2
    return stage, seeds.index(net.seed), place, list(VARIANTS).index(net.variant), backbones.index(net.backbone)
