"""What a prediction costs: FLOPs, parameters and latency per mask and pruning ratio, and on what machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..runtime.engine import Engine
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
    plans = [(np.array(mask), level) for mask in masks for level in engine.ratio_levels]
    index = np.unique(np.linspace(0, len(examples) - 1, max(runs, 1)).astype(int))
    inputs = examples.inputs(index, engine.specs)
    windows = [{name: x[k] for name, x in inputs.items()} for k in range(len(index))]
    found = [engine.infer(windows[0], *plan) for plan in plans]
    median_ms = 1e3 * np.median(time_plans(engine, windows, plans, runs), axis=0) if runs else None
    return [
        PlanCost(r.flops, r.params, None if median_ms is None else round(float(median_ms[i]), 3)) for i, r in enumerate(found)
    ]


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


def machine(threads: int) -> dict[str, Any]:
    """What the latencies were measured on; ``threads``: CPU threads of one inference."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: library_version(name) for name in ("torch", "onnxruntime")},
        "threads": threads,
    }


def library_version(name: str) -> str:
    """Version of an installed package, "" where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def processor() -> str:
    """Architecture, and the processor's name where Linux gives one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {name}".strip()
