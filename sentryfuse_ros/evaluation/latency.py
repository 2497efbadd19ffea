"""How long one inference takes on this machine: per pruning ratio, with all sensors live and with each one missing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import __version__
from ..machine import machine
from ..runtime.engine import Engine
from ..runtime.plan_costs import noise_window, time_plans


@dataclass(frozen=True)
class PlanLatency:
    """Inference time of one plan over all rounds."""

    missing: str  # the model input that is absent, "" with all sensors live
    used: tuple[str, ...]  # the live inputs that the plan uses
    ratio: float  # level in force
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
    plans: tuple[PlanLatency, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_latency(engine: Engine, rounds: int, threads: int) -> LatencyReport:
    """Time every ratio level with all sensors live and with each one missing, ``rounds`` times in turn.

    No data is needed: the inputs are noise (`noise_window`).
    """
    names, levels = engine.modalities, engine.ratio_levels
    absences = ["", *(names if len(names) > 1 else ())]
    masks = [[name != missing for name in names] for missing in absences]
    plans = [engine.choice(mask, level) for mask in masks for level in levels]
    window = noise_window(engine)
    # This builds the plans, so that the rounds find them warm.
    found = [engine.run(plan, window, level) for plan, level in zip(plans, levels * len(masks))]
    seconds = time_plans(engine, [window], plans, rounds)  # (rounds, plans)
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
        plans=tuple(
            PlanLatency(
                missing=absences[i // len(levels)],
                used=tuple(name for name, here in zip(names, result.used) if here),
                ratio=float(result.ratio),
                flops=result.flops,
                params=result.params,
                median_ms=round(float(middle[i]), 3),
                quartile1_ms=round(float(lower[i]), 3),
                quartile3_ms=round(float(upper[i]), 3),
                relative=round(float(relative[i]), 3),
            )
            for i, result in enumerate(found)
        ),
    )
