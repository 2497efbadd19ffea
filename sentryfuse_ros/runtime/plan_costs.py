"""What plans cost on this machine: measured once per machine, model and backend, and kept.

FLOPs are no measure of time at batch size 1: with `budget: flops`, ratio 0.9 saves 18 % of the FLOPs of the model ground_robot
and 13 % of its time, because most of the time is spent in the tokenisers (docs/PERFORMANCE.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import numpy as np

from .. import __version__
from ..errors import ParameterError
from ..files import write_atomically
from ..machine import library_version, processor
from ..masks import all_masks
from ..model.config import FuseConfig, FusionSize
from ..model.subnetwork import Mask, Subnetwork, all_codes, of_code
from ..paths import cache_path
from ..pruning.planner import PlanChoice, PlanCosts, PlanWorth, choose_plans
from .compiled_plans import PLANS_KEPT
from .engine import Engine

ROUNDS = 15
RATE_HZ = 10.0  # the default of the parameter fuse_rate_hz
MOST_LOST = 0.1  # the default of the parameter accuracy_loss_limit
HOLD_FROM_RATIO = 0.5  # the default of the parameter hold_pictures_from_ratio
MOST_SENSORS = 6  # 2 ** 6 sets of sensors take a few seconds to measure


def time_plans(
    engine: Engine, windows: Sequence[Mapping[str, np.ndarray]], plans: Sequence[PlanChoice], rounds: int, warm_up: bool = True
) -> np.ndarray:
    """Seconds of one inference, (rounds, plans); of a plan that holds its pictures, the mean over those that share a picture.

    ``warm_up``: see `time_runs`.
    """
    runs = [(plan, False) for plan in plans] + [(plan, True) for plan in plans if plan.shared_by > 1]
    seconds = time_runs(engine, windows, runs, rounds, warm_up)
    mean, held = seconds[:, : len(plans)], iter(seconds[:, len(plans) :].T)
    for i, plan in enumerate(plans):
        if plan.shared_by > 1:
            mean[:, i] = (mean[:, i] + (plan.shared_by - 1) * next(held)) / plan.shared_by
    return mean


def time_runs(
    engine: Engine,
    windows: Sequence[Mapping[str, np.ndarray]],
    runs: Sequence[tuple[PlanChoice, bool]],
    rounds: int,
    warm_up: bool = True,
) -> np.ndarray:
    """Seconds of one inference, (rounds, runs). A run is a plan, and whether the tokens of its newest pictures are kept, too.

    Every round runs as many plans as the engine keeps, each time in another order, so that neither a machine that is busy for a
    while nor a window that is cold in the cache is held against one plan alone. ``warm_up``: whether each plan is built and run
    once before the rounds; False where the caller has just done so.
    """
    seconds, rng = np.empty((rounds, len(runs))), np.random.default_rng(0)
    windows = [{name: _read_only(x) for name, x in window.items()} for window in windows]
    for first in range(0, len(runs), PLANS_KEPT):
        together = range(first, min(first + PLANS_KEPT, len(runs)))
        for i in together if warm_up else ():
            engine.run(runs[i][0], windows[0])
        for k in range(rounds):
            for i in rng.permutation(together):
                plan, kept = runs[i]
                engine.prime(windows[k % len(windows)], kept)
                seconds[k, i] = engine.run(plan, windows[k % len(windows)]).duration_s
    return seconds


def _read_only(x: np.ndarray) -> np.ndarray:
    view = x.view()
    view.setflags(write=False)
    return view


def noise_window(engine: Engine) -> dict[str, np.ndarray]:
    """Inputs of one window to time an inference on: its time depends on the shapes and not on the values. They are not zeros,
    because a picture that equals an earlier one costs nothing where the tokens of pictures are kept."""
    rng = np.random.default_rng(0)
    return {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in engine.specs}


def measure_plan_costs(engine: Engine, rounds: int = ROUNDS) -> PlanCosts:
    """Time the parts of the network, and add them up for every subnetwork: its stems run one after the other.

    Measured are every set of sensors with the smallest stems on the whole and on the smallest backbone, all sensors on every
    size of the backbone, and every sensor alone with every size of its stem; a camera or LiDAR also with a picture that is
    known already. Raises ParameterError for a model with more than MOST_SENSORS inputs.
    """
    config, count = engine.checkpoint.config, len(engine.modalities)
    if count > MOST_SENSORS:
        raise ParameterError("model inputs", count, f"at most {MOST_SENSORS} for a measured budget", "set budget to flops")
    sizes, everyone = config.fusion_sizes, (True,) * count
    least_stem = [len(config.tokenizer[name].sizes) for name in config.names]
    flops = [engine.flops(PlanChoice(_part(everyone, least_stem, size))) for size in sizes]
    least = sizes[int(np.argmin(flops))]
    masks = [tuple(mask) for mask in all_masks(count)]
    parts = {_part(mask, least_stem, size) for mask in masks for size in (sizes[0], least)}
    parts |= {_part(everyone, least_stem, size) for size in sizes}
    alone = [
        [_part(tuple(j == i for j in range(count)), [size] * count, least) for size in range(1 + least_stem[i])]
        for i in range(count)
    ]
    parts |= {part for row in alone for part in row}
    keeps = [config.tokenizer[name].keeps_tokens for name in config.names]
    ms, known_ms = _time_parts(engine, sorted(parts), [p for row, here in zip(alone, keeps) if here for p in row], rounds)

    plan_ms: dict[str, tuple[float, ...]] = {}
    fusion_ms = {mask: _fusion_ms(ms, mask, least_stem, sizes, least) for mask in masks}
    for code in all_codes(config):
        part = of_code(code, sizes[0])
        more_ms = 0.0  # what its stems take beyond the smallest ones
        for i in (place for place, here in enumerate(part.used) if here):
            more_ms += max(ms[alone[i][part.stems[i]]] - ms[alone[i][-1]], 0.0)
        plan_ms[code] = tuple(np.round(fusion_ms[part.used] + more_ms, 5).tolist())
    picture_ms = tuple(
        tuple(round(max(ms[part] - known_ms[part], 0.0), 5) for part in row) if here else () for row, here in zip(alone, keeps)
    )
    return PlanCosts(plan_ms, picture_ms)


def _part(used: Mask, stems: Sequence[int], size: FusionSize) -> Subnetwork:
    return Subnetwork(used, tuple(stem if here else 0 for stem, here in zip(stems, used)), *size)


def _time_parts(
    engine: Engine, parts: Sequence[Subnetwork], with_known: Sequence[Subnetwork], rounds: int
) -> tuple[dict[Subnetwork, float], dict[Subnetwork, float]]:
    """Time of each part [ms], and of those with pictures that are known: of its fastest round, because whatever else the machine
    does can only add to it."""
    plain = Engine(engine.checkpoint, engine.backend)  # keeps its plans to itself, so that those in use stay warm
    runs = [(PlanChoice(part), False) for part in parts] + [(PlanChoice(part), True) for part in with_known]
    ms = 1e3 * time_runs(plain, [noise_window(engine)], runs, rounds).min(axis=0)
    return dict(zip(parts, ms)), dict(zip(with_known, ms[len(parts) :]))


def _fusion_ms(
    ms: Mapping[Subnetwork, float], mask: Mask, stems: Sequence[int], sizes: Sequence[FusionSize], least: FusionSize
) -> np.ndarray:
    """Time [ms] of a set of sensors with the smallest stems, per fusion size. What lies between the whole and the smallest
    backbone, which were measured, is divided as it is with all sensors."""
    everyone = np.array([ms[_part((True,) * len(mask), stems, size)] for size in sizes])
    span_ms = max(everyone[0] - everyone.min(), 1e-6)
    whole_ms, least_ms = ms[_part(mask, stems, sizes[0])], ms[_part(mask, stems, least)]
    share = np.clip((everyone - everyone.min()) / span_ms, 0.0, 1.0)
    share[0] = 1.0  # the whole backbone is never the cheapest, even if it was timed so
    return least_ms + share * max(whole_ms - least_ms, 0.0)


def plan_costs(engine: Engine, threads: int) -> tuple[PlanCosts, bool]:
    """The kept costs of this model on this machine, or newly measured ones, which are then kept; and whether they were kept.

    A cache that cannot be read or written is no error: the costs are measured again next time.
    """
    key = _key(engine, threads)
    path = cache_path("plan_costs", f"{sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]}.json")
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        plan_ms = {code: tuple(float(ms) for ms in row) for code, row in kept["plan_ms"].items()}
        costs = PlanCosts(plan_ms, tuple(tuple(float(ms) for ms in row) for row in kept["picture_ms"]))
        if kept["key"] == key and _are_whole(costs, engine.checkpoint.config):
            return costs, True
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    costs = measure_plan_costs(engine)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"key": key, **asdict(costs)}, indent=1))
    except OSError:
        pass
    return costs, False


def _are_whole(costs: PlanCosts, config: FuseConfig) -> bool:
    """Whether these are times, and of every plan: the file may have been damaged, or edited by hand."""
    return (
        set(costs.plan_ms) == set(all_codes(config))
        and all(len(row) == len(config.fusion_sizes) for row in costs.plan_ms.values())
        and all(0.0 < ms < math.inf for row in costs.plan_ms.values() for ms in row)
        and len(costs.picture_ms) == len(config.names)
        and all(0.0 <= ms < math.inf for row in costs.picture_ms for ms in row)
    )


def choose_by_time(
    engine: Engine,
    threads: int,
    most_lost: float = MOST_LOST,
    rate_hz: float = RATE_HZ,
    hold_from_ratio: float = HOLD_FROM_RATIO,
) -> PlanCosts:
    """Let the engine run, at every ratio, the plans that fit into the ratio's share of measured time.

    ``most_lost``: accuracy, 0..1, that a plan may lose; ``rate_hz``: predictions a second; ``hold_from_ratio``: from which on
    plans hold their pictures if they can (`planner.choose_plans`). The pictures of an input that is a stream are not held,
    whatever the plan says: its stream decides what is encoded anew. Returns the costs.

    Raises ParameterError where the checkpoint has no validation accuracies to choose by, or too many inputs.
    """
    config = engine.checkpoint.config
    worth = PlanWorth.of_checkpoint(engine.info, config)
    costs, _ = plan_costs(engine, threads)
    engine.choose(choose_plans(config, costs, worth, most_lost, rate_hz, hold_from_ratio))
    return costs


def _key(engine: Engine, threads: int) -> dict[str, Any]:
    """Everything that the times depend on."""
    return {
        "model": str(engine.info.get("sha256", "")),
        "fusion_sizes": [list(size) for size in engine.checkpoint.config.fusion_sizes],
        "stems": list(all_codes(engine.checkpoint.config)),
        "package": __version__,
        "backend": engine.backend.name,
        "version": library_version(engine.backend.name),
        "device": engine.backend.device,
        "threads": threads,
        "processor": processor(),
    }
