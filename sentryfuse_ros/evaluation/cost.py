"""What a prediction costs: FLOPs, parameters and latency per mask and pruning ratio, and on what machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..runtime.engine import Engine
from ..training.examples import Examples


def costs(engine: Engine, examples: Examples, masks: Sequence[Sequence[bool]], runs: int) -> list[dict[str, Any]]:
    """FLOPs, parameters and median latency of every (mask, level), in that order.

    The latency is that of ``runs`` windows at batch 1 with warm plans, spread over the examples; None where runs is 0.
    """
    plans = [(np.array(mask), level) for mask in masks for level in engine.ratio_levels]
    index = np.unique(np.linspace(0, len(examples) - 1, max(runs, 1)).astype(int))
    inputs = examples.inputs(index, engine.specs)
    windows = [{name: x[k] for name, x in inputs.items()} for k in range(len(index))]
    found = [engine.infer(windows[0], *plan) for plan in plans]
    seconds, rng = np.empty((runs, len(plans))), np.random.default_rng(0)
    # Round by round over all plans, each time in another order, so that neither a machine busy with other things for a
    # while nor a window that is cold in the cache falls on one plan alone.
    for k in range(runs):
        for i in rng.permutation(len(plans)):
            seconds[k, i] = engine.infer(windows[k % len(windows)], *plans[i]).duration_s
    median_ms = 1e3 * np.median(seconds, axis=0) if runs else None
    return [
        {"flops": r.flops, "params": r.params, "latency_ms": None if median_ms is None else round(float(median_ms[i]), 3)}
        for i, r in enumerate(found)
    ]


def machine(threads: int) -> dict[str, Any]:
    """What the latencies were measured on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": threads,
    }


def processor() -> str:
    """Architecture, and the processor's name where Linux gives one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {name}".strip()
