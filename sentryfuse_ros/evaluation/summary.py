"""The few numbers that stand for the whole table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def summarise(rows: Sequence[dict[str, Any]], quantise: Callable[[float], float]) -> dict[str, Any]:
    """Rows of all masks and levels -> the headline; ``quantise``: a ratio to the level it runs at (`Engine.quantise`).

    Worst: the lowest accuracy over masks at r = 0; None where there are too few sensors. drop_*_points: accuracy at
    r = 0 minus that at the level, averaged over all masks, in percentage points. Masks without a judged window (accuracy
    None) are left out; at least one window has to be judged.
    """
    sensors = len(rows[0]["mask"])
    rows = [row for row in rows if row["accuracy"] is not None]
    dense = {row["mask"]: row for row in rows if row["ratio"] == 0}
    at = {(row["mask"], row["ratio"]): row["accuracy"] for row in rows}

    def worst(missing: int) -> dict[str, Any] | None:
        found = [row for mask, row in dense.items() if mask.count("0") == missing]
        return min(found, key=lambda row: row["accuracy"]) if found else None

    def drop(level: float) -> float:
        return round(100 * float(np.mean([row["accuracy"] - at[mask, level] for mask, row in dense.items()])), 2)

    one, two = worst(1), worst(2)
    single = max((row for mask, row in dense.items() if mask.count("1") == 1), key=lambda row: row["accuracy"])
    half, most = quantise(0.5), quantise(0.7)
    return {
        "accuracy_all": dense["1" * sensors]["accuracy"],
        "accuracy_all_ci95": dense["1" * sensors]["ci95"],
        "accuracy_one_missing_worst": one and one["accuracy"],
        "one_missing_worst_live": one and one["live"],
        "accuracy_two_missing_worst": two and two["accuracy"],
        "two_missing_worst_live": two and two["live"],
        "best_single_sensor": {"name": single["live"][0], "accuracy": single["accuracy"]},
        "drop_r50_points": drop(half),
        "drop_r70_points": drop(most),
        "level_r50": half,
        "level_r70": most,
        "ece_mean": round(float(np.mean([row["ece"] for row in dense.values()])), 4),
        "ece_mean_all_ratios": round(float(np.mean([row["ece"] for row in rows])), 4),
    }
