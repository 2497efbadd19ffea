"""Percentiles of recent durations, against numpy."""

import math

import numpy as np
import pytest

from sentryfuse_ros.runtime.recent_times import KEPT, RecentTimes


@pytest.mark.parametrize("count", [1, 2, 7, KEPT, KEPT + 30])
def test_percentiles_are_those_of_numpy_over_the_last_values(count):
    values = np.random.default_rng(count).exponential(1.0, count)
    recent = RecentTimes()
    for value in values:
        recent.add(float(value))
    for percent in (0, 50, 95, 99, 100):
        assert recent.percentile(percent) == pytest.approx(np.percentile(values[-KEPT:], percent))


def test_nothing_kept_is_nan():
    recent = RecentTimes()
    assert math.isnan(recent.percentile(95))
    recent.add(1.0)
    recent.clear()
    assert math.isnan(recent.percentile(95))
