"""Accuracy, its intervals and the calibration error."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_maker import BY_HAND, two_sensors

from sentryfuse_ros.evaluation.accuracy import accuracy_intervals, accuracy_rows, calibration_error
from sentryfuse_ros.evaluation.breakdown import condition_rows, confusions, reliability
from sentryfuse_ros.evaluation.records import MaskResult
from sentryfuse_ros.evaluation.summary import summarise
from sentryfuse_ros.training.calibration import expected_calibration_error


def test_rows_by_hand():
    rows = accuracy_rows(BY_HAND)
    assert [(r.mask, r.live, r.ratio, r.accuracy) for r in rows] == [
        ("11", ("eye", "ear"), 0.0, 0.8),
        ("10", ("eye",), 0.0, 0.5),
        ("01", ("ear",), 0.0, 0.6),
    ]
    assert rows[0].confidence == rows[1].confidence == 0.9 and rows[0].ece == 0.1 and rows[1].ece == 0.4
    assert [r.judged for r in rows] == [5, 4, 5]


def test_windows_that_a_mask_cannot_see_are_not_judged():
    seen, sure = [0, 2, 1, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.5]
    found = two_sensors([seen, [-1, -1, 1, 1, 0], [-1] * 5], [sure, [0, 0, 0.7, 0.6, 0.5], [0] * 5])
    full, eye, ear = accuracy_rows(found)
    alone = accuracy_rows(two_sensors([seen[2:]] * 3, [sure[2:]] * 3, (1, 1, 1), (1, 1, 2)))[0]
    assert replace(eye, mask="11", live=full.live) == alone and eye.judged == 3 and eye.ci95 is not None
    assert ear == MaskResult("01", ("ear",), 0.0, 0, accuracy=None, ci95=None, ece=None, confidence=None)
    single = reliability(found)[1]
    assert (single.judged, single.accuracy, single.confidence, single.ece) == (3, alone.accuracy, alone.confidence, alone.ece)
    assert sum(b.count for b in single.bins) == 3
    assert condition_rows(found, {})[0].accuracy == {"11": 0.6, "10": 0.6667, "01": None}
    assert [c.mask for c in confusions(found)] == ["11", "10"]
    summary = summarise([full, eye, ear], lambda ratio: 0.0)
    assert (summary.one_missing_worst_live, summary.best_single_sensor) == (("eye",), "eye")
    assert summary.ece_mean == pytest.approx((full.ece + eye.ece) / 2, abs=1e-4) and summary.drop_r50_points == 0


def test_interval_of_two_recordings_and_of_one():
    right = np.array([True, True, False, False])
    # Both drawn alike in half of the draws: the share is 0, 1/2 or 1 in 1/4, 1/2, 1/4 of them.
    np.testing.assert_array_equal(accuracy_intervals(right, np.array([7, 7, 9, 9])), [0, 1])
    assert np.isnan(accuracy_intervals(right, np.zeros(4, int))).all()


def test_interval_is_repeatable_and_knows_that_windows_of_a_recording_are_alike():
    rng = np.random.default_rng(0)
    alone = rng.random((2, 400)) < 0.8
    a, b, c = (accuracy_intervals(alone, np.arange(400), seed) for seed in (1, 1, 2))
    assert a.shape == (2, 2) and np.array_equal(a, b) and not np.array_equal(a, c)
    half = 1.96 * np.sqrt(alone.mean(1) * (1 - alone.mean(1)) / 400)  # of independent examples
    np.testing.assert_allclose(a, np.stack([alone.mean(1) - half, alone.mean(1) + half], 1), atol=0.006)
    alike = np.repeat(alone[0, :40], 10)
    together, apart = (np.diff(accuracy_intervals(alike, r))[0] for r in (np.repeat(np.arange(40), 10), np.arange(400)))
    assert 2 < together / apart < 5  # sqrt(10)


def test_calibration_error_is_that_of_training():
    probabilities = np.random.default_rng(0).dirichlet([0.5] * 4, 200)
    labels = np.random.default_rng(1).integers(0, 4, 200)
    expected = expected_calibration_error(probabilities, labels)
    assert calibration_error(probabilities.max(1), probabilities.argmax(1) == labels) == pytest.approx(expected) != 0
