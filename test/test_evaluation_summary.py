"""The headline numbers, by hand."""

import pytest
from evaluation_maker import LEVELS

from sentryfuse_ros.evaluation.records import MaskResult
from sentryfuse_ros.evaluation.summary import summarise


def rows_of(accuracy, ece, names):
    """accuracy: {mask bits: one per level of 0, 0.5, 0.9}."""
    return [
        MaskResult(
            mask=bits,
            live=tuple(n for n, b in zip(names, bits) if b == "1"),
            ratio=level,
            judged=10,
            accuracy=a,
            ci95=(0.1, 0.2),
            ece=ece + level,
            confidence=a,
        )
        for bits, row in accuracy.items()
        for level, a in zip(LEVELS, row)
    ]


def test_summary_by_hand():
    rows = rows_of(
        {
            "111": [0.9, 0.8, 0.7],
            "110": [0.8, 0.8, 0.8],
            "101": [0.7, 0.6, 0.6],
            "011": [0.85, 0.85, 0.75],
            "100": [0.6, 0.5, 0.1],
            "010": [0.65, 0.6, 0.6],
            "001": [0.5, 0.5, 0.4],
        },
        0.02,
        ("eye", "ear", "nose"),
    )
    found = summarise(rows, lambda ratio: next(level for level in LEVELS if level >= ratio))
    assert found.accuracy_all == 0.9 and found.accuracy_all_ci95 == (0.1, 0.2)
    assert (found.accuracy_one_missing_worst, found.one_missing_worst_live) == (0.7, ("eye", "nose"))
    assert (found.accuracy_two_missing_worst, found.two_missing_worst_live) == (0.5, ("nose",))
    assert (found.best_single_sensor, found.best_single_accuracy) == ("ear", 0.65)
    assert found.drop_r50_points == 5.0  # (10 + 0 + 10 + 0 + 10 + 5 + 0) / 7
    assert found.drop_r70_points == 15.0  # at 0.9, the next level: (20 + 0 + 10 + 10 + 50 + 5 + 10) / 7
    assert (found.level_r50, found.level_r70) == (0.5, 0.9)
    assert found.ece_mean == 0.02 and found.ece_mean_all_ratios == pytest.approx(0.02 + 1.4 / 3, abs=1e-4)


@pytest.mark.parametrize(
    "accuracy, one, two", [({"1": [0.9, 0.9, 0.9]}, None, None), ({"11": [0.9] * 3, "10": [0.8] * 3, "01": [0.7] * 3}, 0.7, None)]
)
def test_summary_with_too_few_sensors_to_lose(accuracy, one, two):
    found = summarise(rows_of(accuracy, 0.0, ("eye", "ear")), lambda ratio: 0.5)
    assert (found.accuracy_one_missing_worst, found.accuracy_two_missing_worst) == (one, two)
