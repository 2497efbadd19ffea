"""What plans cost on this machine: measured once per machine, model and backend, and kept.

FLOPs are no measure of time at batch size 1: on the model ground_robot, ratio 0.9 saves 14 % of the FLOPs of inference and next
to none of its time, because what costs time are the tokenisers (docs/PERFORMANCE.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..files import write_atomically
from ..machine import library_version, processor
from ..masks import all_masks, mask_to_bits
from ..paths import cache_path
from ..pruning.planner import PlanChoice, PlanCosts, PlanWorth, choose_plans
from .engine import Engine

ROUNDS = 15
MOST_LOST = 0.1  # the default of the parameter accuracy_loss_limit
MOST_SENSORS = 6  # 2 ** 6 sets of sensors take a few seconds to measure


def time_plans(
    engine: Engine,
    windows: Sequence[Mapping[str, np.ndarray]],
    plans: Sequence[tuple[np.ndarray, float]],
    rounds: int,
) -> np.ndarray:
    """Seconds of one inference, (rounds, plans); a plan is (mask, ratio level). The plans should be warm.

    Every round runs all plans, each time in another order, so that neither a machine that is busy for a while nor a
    window that is cold in the cache is held against one plan alone.
    """
    seconds, rng = np.empty((rounds, len(plans))), np.random.default_rng(0)
    for k in range(rounds):
        for i in rng.permutation(len(plans)):
            engine.prime(windows[k % len(windows)])
            seconds[k, i] = engine.infer(windows[k % len(windows)], *plans[i]).duration_s
    return seconds


def noise_window(engine: Engine) -> dict[str, np.ndarray]:
    """Inputs of one window to time an inference on: its time depends on the shapes and not on the values. They are not zeros,
    because a picture that equals an earlier one costs nothing where the tokens of pictures are kept."""
    rng = np.random.default_rng(0)
    return {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in engine.specs}


def measure_plan_costs(engine: Engine, rounds: int = ROUNDS) -> PlanCosts:
    """Time every set of sensors with all units and with the fewest; between these two, time goes with the FLOPs.

    Raises ParameterError for a model with more than MOST_SENSORS inputs.
    """
    count, levels = len(engine.modalities), engine.ratio_levels
    if count > MOST_SENSORS:
        raise ParameterError("model inputs", count, f"at most {MOST_SENSORS} for a measured budget", "set budget to flops")
    plain = Engine(engine.checkpoint, engine.backend)  # without choices: it runs what it is told to
    masks = [np.array(mask) for mask in all_masks(count)]
    plans = [(mask, level) for mask in masks for level in (levels[0], levels[-1])]
    window = noise_window(engine)
    for plan in plans:  # built and run once, so that the rounds find them warm
        plain.infer(window, *plan)
    # The fastest round: whatever else the machine does can only add to it.
    ms = 1e3 * time_plans(plain, [window], plans, rounds).min(axis=0).reshape(len(masks), 2)
    plan_ms = {}
    for mask, (dense_ms, sparse_ms) in zip(masks, ms):
        used = tuple(mask.tolist())
        flops = np.array([plain.flops(PlanChoice(used, level)) for level in levels], float)
        share = (flops - flops[-1]) / max(flops[0] - flops[-1], 1.0)  # 1 with all units, 0 with the fewest
        plan_ms[mask_to_bits(used)] = tuple(np.round(sparse_ms + share * max(dense_ms - sparse_ms, 0.0), 5).tolist())
    return PlanCosts(plan_ms)


def plan_costs(engine: Engine, threads: int) -> tuple[PlanCosts, bool]:
    """The kept costs of this model on this machine, or newly measured ones, which are then kept; and whether they were kept.

    A cache that cannot be read or written is no error: the costs are measured again next time.
    """
    key = _key(engine, threads)
    path = cache_path("plan_costs", f"{sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]}.json")
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return PlanCosts({bits: tuple(float(ms) for ms in row) for bits, row in kept["plan_ms"].items()}), True
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    costs = measure_plan_costs(engine)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"key": key, "plan_ms": costs.plan_ms}, indent=1))
    except OSError:
        pass
    return costs, False


def choose_by_time(engine: Engine, threads: int, most_lost: float = MOST_LOST) -> PlanCosts:
    """Let the engine run, at every ratio, the plans that fit into the ratio's share of measured time.

    ``most_lost``: accuracy, 0..1, that a plan may lose (`planner.choose_plans`). Returns the costs. Raises ParameterError where
    the checkpoint has no validation accuracies to choose by, or too many inputs.
    """
    count, levels = len(engine.modalities), engine.ratio_levels
    worth = PlanWorth.of_checkpoint(engine.info, count, len(levels))
    costs, _ = plan_costs(engine, threads)
    engine.choose(choose_plans(levels, costs, worth, count, most_lost))
    return costs


def _key(engine: Engine, threads: int) -> dict[str, Any]:
    """Everything that the times depend on."""
    return {
        "model": str(engine.info.get("sha256", "")),
        "levels": list(engine.ratio_levels),
        "backend": engine.backend.name,
        "version": library_version(engine.backend.name),
        "device": engine.backend.device,
        "threads": threads,
        "processor": processor(),
    }
