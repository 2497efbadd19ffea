"""The few numbers that stand for all masks and ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .records import MaskResult, Summary


def summarise(rows: Sequence[MaskResult], quantise: Callable[[float], float]) -> Summary:
    """Summarise the results of all masks and levels; ``quantise``: a ratio -> the level at which it runs (`Engine.quantise`).

    Masks without a judged window (accuracy None) are left out; at least one window has to be judged.
    """
    sensors = len(rows[0].mask)
    # Accuracy and calibration error of the judged cells: (row, accuracy, ece).
    judged = [(row, row.accuracy, row.ece) for row in rows if row.accuracy is not None and row.ece is not None]
    dense = [cell for cell in judged if cell[0].ratio == 0]
    at = {(row.mask, row.ratio): accuracy for row, accuracy, _ in judged}
    full = next(row for row, _, _ in dense if row.mask == "1" * sensors)

    def worst(missing: int) -> MaskResult | None:
        found = [(accuracy, row) for row, accuracy, _ in dense if row.missing == missing]
        return min(found, key=lambda pair: pair[0])[1] if found else None

    def drop_points(level: float) -> float:
        return round(100 * float(np.mean([accuracy - at[row.mask, level] for row, accuracy, _ in dense])), 2)

    one, two = worst(1), worst(2)
    single, single_accuracy, _ = max((cell for cell in dense if len(cell[0].live) == 1), key=lambda cell: cell[1])
    level_r50, level_r70 = quantise(0.5), quantise(0.7)
    return Summary(
        accuracy_all=full.accuracy,
        accuracy_all_ci95=full.ci95,
        accuracy_one_missing_worst=one.accuracy if one else None,
        one_missing_worst_live=one.live if one else None,
        accuracy_two_missing_worst=two.accuracy if two else None,
        two_missing_worst_live=two.live if two else None,
        best_single_sensor=single.live[0],
        best_single_accuracy=single_accuracy,
        drop_r50_points=drop_points(level_r50),
        drop_r70_points=drop_points(level_r70),
        level_r50=level_r50,
        level_r70=level_r70,
        ece_mean=round(float(np.mean([ece for _, _, ece in dense])), 4),
        ece_mean_all_ratios=round(float(np.mean([ece for _, _, ece in judged])), 4),
    )
