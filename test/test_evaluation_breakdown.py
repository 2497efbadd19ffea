"""Confusion, conditions and reliability, by hand."""

import numpy as np
import pytest
from evaluation_maker import BY_HAND, engine, made_up_windows, two_sensors

from sentryfuse_ros.evaluation.breakdown import condition_rows, confusion, confusions, reliability
from sentryfuse_ros.evaluation.predictions import Predictions, predict
from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.training.examples import WindowExamples


def test_confusion_counts_recall_and_precision_by_hand():
    all_sensors, eye = confusion(BY_HAND, 0), confusion(BY_HAND, 1)
    assert all_sensors.counts == [[2, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert all_sensors.recall == [1.0, 0.6667, None] and all_sensors.precision == [0.6667, 1.0, None]
    assert eye.counts == [[1, 0, 1], [1, 1, 0], [0, 0, 0]] and eye.without_prediction == [0, 1, 0]
    assert eye.recall == [0.5, 0.5, None]  # of the windows with a prediction
    assert eye.live == ("eye",) and eye.ratio == 0.0


def test_second_matrix_is_of_the_loss_that_costs_most():
    assert [c.mask for c in confusions(BY_HAND)] == ["11", "10"]  # 4 of 5, then eye 2 of 4 and ear 3 of 5


def test_conditions_by_hand():
    fog, mud = np.array([True, False, True, False, False]), np.zeros(5, bool)
    rows = condition_rows(BY_HAND, {"fog": fog, "mud": mud})
    assert [(r.condition, r.windows, r.recordings) for r in rows] == [
        ("all", 5, 3),
        ("undisturbed", 3, 3),
        ("fog", 2, 2),
        ("mud", 0, 0),
    ]
    assert rows[0].accuracy == {"11": 0.8, "10": 0.5, "01": 0.6}
    assert rows[1].accuracy == {"11": 0.6667, "10": 0.0, "01": 0.6667}
    assert rows[2].accuracy == {"11": 1.0, "10": 1.0, "01": 0.5}
    assert rows[3].accuracy == {"11": None, "10": None, "01": None}
    assert [r.condition for r in condition_rows(BY_HAND, {})] == ["all"]  # nothing known is not undisturbed


def test_conditions_show_all_each_missing_and_each_single_sensor():
    found = predict(engine(), WindowExamples(made_up_windows()))
    assert list(condition_rows(found, {})[0].accuracy) == ["111", "011", "101", "110", "100", "010", "001"]


def test_reliability_bins_make_the_calibration_error_and_confidence_falls():
    found = two_sensors(
        [[0, 0, 1, 1, 0], [0, 2, 1, 2, 0], [0, 0, 0, 1, 0]],
        [[0.95, 0.91, 0.97, 0.99, 0.7], [0.6, 0.5, 0.6, 0.5, 0.6], [0.5, 0.5, 0.55, 0.6, 0.4]],
    )
    full, single = reliability(found)
    assert (full.name, single.name) == ("all sensors", "single sensor") and single.masks == ("10", "01")
    assert full.confidence == 0.904 and full.accuracy == 0.8 and single.confidence < full.confidence
    assert [b.count for b in full.bins] == [1, 1, 3] and sum(b.count for b in single.bins) == 10
    for group in (full, single):
        gap = sum(b.count * abs(b.confidence - b.accuracy) for b in group.bins)
        assert group.ece == pytest.approx(gap / sum(b.count for b in group.bins), abs=2e-4)


@pytest.mark.parametrize(
    "sensors, names",
    [
        (1, ["all sensors"]),
        (3, ["all sensors", "one missing", "single sensor"]),
        (6, ["all sensors", "one missing", "two missing", "three missing", "4 missing", "single sensor"]),
    ],
)
def test_names_by_number_of_sensors_missing(sensors, names):
    masks = tuple(all_masks(sensors))
    blank = np.zeros((len(masks), 1, 2))
    found = Predictions(
        tuple("abcdef"[:sensors]), ("x", "y"), masks, (0.0,), np.array([0, 1]), np.array([0, 1]), blank.astype(int), blank
    )
    assert [group.name for group in reliability(found)] == names
