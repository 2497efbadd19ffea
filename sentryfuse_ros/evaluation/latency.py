"""How long one inference takes on this machine: per pruning ratio, with all sensors live and with each one missing."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..machine import machine
from ..runtime.engine import Engine
from ..runtime.plan_costs import noise_window, time_plans
from .rivals import OtherInstallation, plain_network

REPORTED_RATIOS = {"r50": 0.5, "r70": 0.7, "r90": 0.9}  # in the summary, where the model has these levels
USER_RATIO = 0.7  # compared with what a user would write


@dataclass(frozen=True)
class PlanLatency:
    """Inference time of one plan over all rounds."""

    missing: str  # the model input that is absent, "" with all sensors live
    used: tuple[str, ...]  # the live inputs that the plan uses
    stems: tuple[int, ...]  # sizes of their stems, 0 the whole one
    layers: int  # of the backbone
    units_level: float  # pruning ratio that chose the units of these layers
    hold_s: float  # for which a picture serves; the times are then means over the predictions that share one
    ratio: float  # level in force
    accuracy: float | None  # of the plan on the model's validation recordings; None where the budget is in FLOPs
    flops: int
    params: int
    median_ms: float
    quartile1_ms: float
    quartile3_ms: float
    relative: float  # median over the rounds of its time, divided by that of ratio 0 with the same sensors


@dataclass(frozen=True)
class LatencyReport:
    """Latencies of a model on this machine."""

    model: str
    sha256: str
    version: str  # of this package
    machine: dict[str, Any]  # see `cost.machine`
    rounds: int
    inputs: str  # what the model was run on
    budget: str  # what a ratio is a share of: "time" or "flops"
    summary: dict[str, float]  # see `summarise`
    plans: tuple[PlanLatency, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_latency(engine: Engine, rounds: int, threads: int, before: Path | None = None) -> LatencyReport:
    """Time every ratio level with all sensors live and with each one missing, ``rounds`` times in turn.

    No data is needed: the inputs are noise (`noise_window`). ``before``: the virtual environment of another version of this
    package, whose engine takes turns with this one.
    """
    names, levels = engine.modalities, engine.ratio_levels
    absences = ["", *(names if len(names) > 1 else ())]
    masks = [[name != missing for name in names] for missing in absences]
    plans = [engine.choice(mask, level) for mask in masks for level in levels]
    seconds = time_plans(engine, [noise_window(engine)], plans, rounds)  # (rounds, plans)
    lower, middle, upper = 1e3 * np.quantile(seconds, (0.25, 0.5, 0.75), axis=0)
    by_mask = seconds.reshape(rounds, len(masks), len(levels))
    relative = np.median(by_mask / by_mask[:, :, :1], axis=0).ravel()
    return LatencyReport(
        model=engine.name,
        sha256=str(engine.info.get("sha256", "")),
        version=__version__,
        machine={**machine(threads), "backend": engine.backend.name, "device": engine.backend.device},
        rounds=rounds,
        inputs="noise",
        budget=engine.budget,
        summary=summarise(engine, rounds, threads, before),
        plans=tuple(
            PlanLatency(
                missing=absences[i // len(levels)],
                used=tuple(name for name, here in zip(names, plan.used) if here),
                stems=tuple(size for size, here in zip(plan.part.stems, plan.used) if here),
                layers=plan.part.layers,
                units_level=plan.part.units_level,
                hold_s=plan.hold_s,
                ratio=levels[i % len(levels)],
                accuracy=plan.accuracy,
                flops=engine.flops(plan),
                params=engine.params(plan),
                median_ms=round(float(middle[i]), 3),
                quartile1_ms=round(float(lower[i]), 3),
                quartile3_ms=round(float(upper[i]), 3),
                relative=round(float(relative[i]), 3),
            )
            for i, plan in enumerate(plans)
        ),
    )


def summarise(engine: Engine, rounds: int, threads: int, before: Path | None) -> dict[str, float]:
    """What the ratio gains with all sensors live, each the median over rounds in which all sides take turns.

    speedup_r50_same_backend (and r70, r90): time of ratio 0 over that of the ratio. speedup_r0_vs_before: the other version's
    over this one's, both at ratio 0; only with ``before``. speedup_r70_vs_user: `rivals.plain_network` over ratio 0.7; only
    where torch is installed. switch_ms_p99: the first inference after a change between warm plans, 99th percentile.
    """
    everyone, window = (True,) * len(engine.modalities), noise_window(engine)
    ratios = {"r0": 0.0, **{name: r for name, r in REPORTED_RATIOS.items() if r in engine.ratio_levels}}
    plans = {name: engine.choice(everyone, ratio) for name, ratio in ratios.items()}
    try:
        user = plain_network(engine.checkpoint.config, window, threads)
    except ImportError:
        user = None
    took: dict[str, list[float]] = {name: [] for name in (*plans, "user", "before")}
    switches, rng = [], np.random.default_rng(0)
    with ExitStack() as stack:
        other = None if before is None else stack.enter_context(OtherInstallation(before, engine.name, threads))
        for plan in plans.values():
            engine.run(plan, window)
        for _ in range(rounds):
            for name in rng.permutation(list(took)):
                if name in plans:
                    engine.prime(window)
                    switches.append(engine.run(plans[name], window).duration_s)
                    # The first run after a change counts for the changes, the next ones for the plan.
                    took[name].append(float(time_plans(engine, [window], [plans[name]], 1, warm_up=False)[0, 0]))
                elif name == "user" and user is not None:
                    started = time.perf_counter()
                    user()
                    took[name].append(time.perf_counter() - started)
                elif name == "before" and other is not None:
                    took[name].append(other.infer_s())

    def ratio_of(slow: str, fast: str) -> float:
        return round(float(np.median(np.divide(took[slow], took[fast]))), 3)

    summary = {f"speedup_{name}_same_backend": ratio_of("r0", name) for name in plans if name != "r0"}
    if took["before"]:
        summary["speedup_r0_vs_before"] = ratio_of("before", "r0")
    if took["user"] and USER_RATIO in ratios.values():
        summary["speedup_r70_vs_user"] = ratio_of("user", "r70")
    return {**summary, "switch_ms_p99": round(1e3 * float(np.quantile(switches, 0.99)), 3)}
