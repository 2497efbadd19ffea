"""The training runs of the comparison: which there are, what each is specified by, and in which order they are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sentryfuse_ros.training.recipe import Recipe

from . import people
from .tasks import TASKS, Task
from .variants import GROUPS, RATIO_MAX, RICH, VARIANTS, Variant
from .whole.stages import with_stages

TRAINING = 1  # to be raised when the product trains differently from the same specification; runs are then trained again
QUICK_SHARE = 3  # --quick trains for so many times fewer epochs
# What a pruning ratio is a share of: the heads and FFN channels alone, or everything that a plan may leave out.
UNITS, NETWORK = BUDGETS = ("units", "network")


class Run(NamedTuple):
    """One training run."""

    task: str
    backbone: str
    variant: str
    seed: int
    quick: bool = False
    budget: str = UNITS

    @property
    def name(self) -> str:
        """Folder in the cache and line in the archive; the hash makes a run with another specification another run."""
        kind = "" if self.budget == UNITS else f"{self.budget}-"
        return f"{kind}{self.task}-{self.backbone}-{self.variant}-{self.seed}-{run_hash(self)}"


def specification(run: Run) -> dict[str, Any]:
    """What the study states of a run, as a recipe's mapping; every key that it leaves out has the product's default."""
    task, variant = TASKS[run.task], VARIANTS[run.variant]
    stated: dict[str, Any] = {
        "dataset": task.dataset,
        "modalities": list(task.modalities),
        "train_groups": list(task.train),
        "validation_groups": list(task.validation),
        "test_groups": list(task.test),
        **task.training,
        **variant.recipe,
        "model": _model(task, run.backbone, variant),
        "schedule": {"ratio_max": RATIO_MAX, **task.training.get("schedule", {}), **variant.recipe.get("schedule", {})},
        "seed": run.seed,
    }
    if run.quick:
        stated["epochs"] = max(1, stated.get("epochs", Recipe.epochs) // QUICK_SHARE)
    return with_stages(stated) if run.budget == NETWORK else stated


def _model(task: Task, backbone: str, variant: Variant) -> dict[str, Any]:
    """The model section: that of the task, changed as the variant says. The number of query heads is the same in all."""
    model = task.model(backbone)
    heads = model["num_kv_heads"] * model["heads_per_group"]
    if variant.dense_attention:
        return model | {"num_kv_heads": heads, "heads_per_group": 1, "kv_pattern": "strided", "kv_stride": {}}
    if variant.num_kv_heads:
        return model | {"num_kv_heads": variant.num_kv_heads, "heads_per_group": heads // variant.num_kv_heads}
    if variant.rich:
        rich = task.best_and_worst[("best", "worst").index(variant.rich)]
        return model | {"num_kv_heads": {n: RICH if n == rich else 1 for n in task.names}, "heads_per_group": heads // RICH}
    return model


def run_hash(run: Run) -> str:
    """Eight hex digits of what the study states of a run.

    The product's defaults are not part of it, so a renamed or added key of a recipe leaves the finished runs valid.
    """
    values = specification(run) | {"training": TRAINING}
    if TASKS[run.task].people:
        values["people"] = [people.TURN_DEG, people.BUILD, people.MOUNT_DEG, people.SCALE]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def network_runs(tasks: Sequence[str], seeds: Sequence[int], variants: Sequence[str], quick: bool = False) -> list[Run]:
    """All runs with the budget over the whole network, early fusion; those that say most first.

    These are the comparison itself and its controls with the first seed, and then, seed by seed, with the others.
    """
    pair = [v for v in variants if v in ("joint", "normal")]
    controls = [v for v in variants if v not in pair]
    kinds = [(seed, some) for seed in seeds for some in (pair, controls)]
    return [Run(t, "early", v, seed, quick, NETWORK) for seed, some in kinds for t in tasks if TASKS[t].pruning for v in some]


def all_runs(
    tasks: Sequence[str], backbones: Sequence[str], seeds: Sequence[int], variants: Sequence[str], quick: bool = False
) -> list[Run]:
    """All runs that are asked for, those that say most first.

    Seed by seed come the comparison itself, the whole networks and the controls that figures rest on; then the other controls, on
    one backbone, and the numbers of K/V groups.
    """
    found = [
        Run(t, b, v, s, quick)
        for t in tasks
        if TASKS[t].pruning
        for b in backbones
        for v in variants
        for s in seeds
        if b in (VARIANTS[v].backbones or backbones) and not (VARIANTS[v].explains and b != backbones[0])
    ]
    # The accuracy of the whole network is measured with one backbone.
    found += [
        Run(t, backbones[0], "joint", s, quick) for t in tasks if not TASKS[t].pruning for s in seeds if "joint" in variants
    ]
    return sorted(found, key=lambda run: _turn(run, backbones, seeds))


def _turn(run: Run, backbones: Sequence[str], seeds: Sequence[int]) -> tuple[int, ...]:
    """Sort key: stage, seed, place within the seed; then any order that stays the same."""
    stage = 1 if VARIANTS[run.variant].explains or run.variant in GROUPS else 0
    place = 1 if not TASKS[run.task].pruning else 0 if run.variant in ("joint", "normal") else 2
    return stage, seeds.index(run.seed), place, list(VARIANTS).index(run.variant), backbones.index(run.backbone)
