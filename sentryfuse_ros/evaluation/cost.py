"""What a prediction costs: FLOPs, parameters and latency per mask and pruning ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..runtime.engine import Engine
from ..runtime.plan_costs import time_plans
from ..training.examples import Examples


class PlanCost(NamedTuple):
    """Cost of one inference of a plan."""

    flops: int
    params: int
    latency_ms: float | None  # median at batch size 1, None where it was not measured

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the rows of a report."""
        return self._asdict()


def costs(engine: Engine, examples: Examples, masks: Sequence[Sequence[bool]], runs: int) -> list[PlanCost]:
    """Cost of every (mask, level), in that order.

    The latency is the median of ``runs`` windows at batch size 1 with warm plans, spread over the examples; it is not
    measured if ``runs`` is 0.
    """
    plans = [engine.choice(mask, level) for mask in masks for level in engine.ratio_levels]
    index = np.unique(np.linspace(0, len(examples) - 1, max(runs, 1)).astype(int))
    inputs = examples.inputs(index, engine.specs)
    windows = [{name: x[k] for name, x in inputs.items()} for k in range(len(index))]
    found = [engine.run(plan, windows[0]) for plan in plans]
    median_ms = 1e3 * np.median(time_plans(engine, windows, plans, runs), axis=0) if runs else None
    return [
        PlanCost(r.flops, r.params, None if median_ms is None else round(float(median_ms[i]), 3)) for i, r in enumerate(found)
    ]
