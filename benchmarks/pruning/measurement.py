"""One trained network -> the accuracies of all its plans, under all masks and ratios."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from sentryfuse_ros.masks import all_masks, mask_to_bits
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.pruning.budget import full_budget, prunable_flops
from sentryfuse_ros.pruning.cost import plan_flops
from sentryfuse_ros.pruning.slicing import choose_plan
from sentryfuse_ros.pruning.units import SiteKeep
from sentryfuse_ros.training.logits import accuracy, predict_logits

from .conditions import RATIOS
from .criteria import Calibration
from .examples import held_examples, load_examples
from .plans import Asked, Modes, Ranking, choose_modes, make_plans, plan_accuracies
from .run_result import PlanResults, RunResult
from .runs import NETWORK, Run
from .tasks import TASKS, ordinary_attention
from .variants import VARIANTS
from .whole.measurement import NETWORK_VERSION, measure_network_plans, network_plan_names
from .whole.stages import RATIOS as NETWORK_RATIOS

CALIBRATION = 256  # training examples that criteria are measured on
VERSION = 1  # to be raised when something is measured differently; results of another version are measured again


def plan_names(run: Run) -> tuple[str, ...]:
    """What ranks the units of a run's network in turn; the criteria of torch-pruning only where it is installed."""
    if not TASKS[run.task].pruning:
        return ()
    if run.budget == NETWORK:
        return network_plan_names(run.variant)
    library = find_spec("torch_pruning") is not None
    return tuple(p for p in VARIANTS[run.variant].plans if library or not p.startswith("torch_pruning"))


def evaluation_hash(run: Run) -> str:
    """Eight hex digits of how a trained network is measured."""
    values = [VERSION, RATIOS, CALIBRATION, TASKS[run.task].held]
    if run.budget == NETWORK:
        values = [NETWORK_VERSION, NETWORK_RATIOS, CALIBRATION, TASKS[run.task].held]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]


def missing_plans(run: Run, result: RunResult) -> list[str]:
    """The plans that a result lacks."""
    return [name for name in plan_names(run) if result.plans is None or name not in result.plans.test]


def measure(run: Run, model: SentryFuse, train_s: float) -> RunResult:
    """Everything that is asked of a trained network; the seconds that measuring takes are for the caller to fill in."""
    config, everyone = model.config, (True,) * len(model.config.names)
    test, _ = load_examples(run.task, "test")
    names = plan_names(run)
    plans = measure_plans(run, model, names, {}) if names else None
    ordinary = ordinary_attention(config)
    whole = predict_logits(model, test, [everyone], [0.0])[mask_to_bits(everyone)][0]
    return RunResult(
        run=run,
        evaluation=evaluation_hash(run),
        train_s=train_s,
        measure_s=0.0,
        sensors=len(config.names),
        params=sum(p.numel() for n, p in model.named_parameters() if not n.startswith("gate.")),
        flops=plan_flops(config, whole_stems(config, everyone, 0.0), full_budget(config)),
        flops_dense_attention=plan_flops(ordinary, whole_stems(ordinary, everyone, 0.0), full_budget(ordinary)),
        test_examples=len(test),
        accuracy=round(accuracy(whole, test.labels), 4),
        plans=plans,
    )


def measure_plans(run: Run, model: SentryFuse, names: Sequence[str], known: Modes) -> PlanResults:
    """The part of a result that is about plans; ``known`` are the budget modes of plans that were measured before."""
    config = model.config
    everyone = (True,) * len(config.names)
    train, _ = load_examples(run.task, "train")
    rank = Ranking(model, Calibration.draw(train, config.modalities, CALIBRATION), run.seed)
    if run.budget == NETWORK:
        return measure_network_plans(run, rank, names)
    modes = choose_modes(model, held_examples(run.task, "validation", config.modalities), names, rank, known)
    held = held_examples(run.task, "test", config.modalities)
    dense: dict[str, float] = {}
    whole: dict[str, list[str]] = {str(r): [] for r in RATIOS}
    test: dict[str, dict[str, dict[str, float]]] = {n: {str(r): {} for r in RATIOS} for n in names}
    spent: dict[str, dict[str, list[float]]] = {n: {str(r): [] for r in RATIOS} for n in names}
    most = prunable_flops(config, full_budget(config), model.lengths, everyone)
    for mask in all_masks(len(config.names)):
        bits = mask_to_bits(mask)
        plans: dict[Asked, list[SiteKeep]] = make_plans(
            model, mask, (Asked(n, modes[n][str(r)], r) for n in names for r in RATIOS), rank
        )
        unpruned = Asked("dense", "even", 0.0)
        found = plan_accuracies(model, held, mask, plans | {unpruned: choose_plan(model, mask, 0.0)})
        dense[bits] = found.pop(unpruned)
        for asked, correct in found.items():
            test[asked.plan][str(asked.ratio)][bits] = correct
            used = prunable_flops(config, [keep.budget for keep in plans[asked]], model.lengths, mask)
            spent[asked.plan][str(asked.ratio)].append(used / most)
        for ratio in RATIOS:
            if all(keep.whole for keep in choose_plan(model, mask, ratio)):
                whole[str(ratio)].append(bits)
    shares = {n: {r: round(float(np.mean(v)), 4) for r, v in rows.items()} for n, rows in spent.items()}
    return PlanResults(len(held.labels), modes, dense, whole, test, shares)
