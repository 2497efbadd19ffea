"""Measured rates, timeouts, and messages missing between stamps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.sensing.rates import STEPS_KEPT, UNKNOWN_TIMEOUT_S, ArrivalRate, StampPeriod

MS = 1_000_000


def test_timeout_before_the_period_is_known():
    assert StampPeriod(0).timeout_s == UNKNOWN_TIMEOUT_S
    assert StampPeriod(30).timeout_s == pytest.approx(0.2) and StampPeriod(10).timeout_s == pytest.approx(0.3)


def test_a_given_period_is_not_changed_by_stamps():
    period = StampPeriod(100)
    period.gaps_by_stamps(np.full(100, 50 * MS))
    assert period.period_ns == 10 * MS


def test_a_measured_period_follows_a_lasting_change():
    period = StampPeriod()
    for _ in range(40):
        period.gaps_by_stamps(np.full(10, 10 * MS))
    for _ in range(2 * STEPS_KEPT // 10 + 1):
        period.gaps_by_stamps(np.full(10, 40 * MS))
    assert period.period_ns == 40 * MS


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(-4, 4))
def test_gaps_are_counted_in_spite_of_jitter(periods, jitter_ms):
    steps = np.array(periods) * 10 * MS + jitter_ms * MS
    assert StampPeriod(100).gaps_by_stamps(steps) == sum(p - 1 for p in periods)
    assert sum(StampPeriod(100).gap_by_stamp(int(s)) for s in steps) == sum(p - 1 for p in periods)


def test_messages_without_stamp_fill_a_gap():
    period = StampPeriod(100)
    assert period.gap_by_stamp(50 * MS, filled=1) == 3
    assert period.gaps_by_stamps(np.array([50, 10, 20]) * MS, np.array([1, 5, 4])) == 3


def test_arrival_rate_needs_two_arrivals():
    rate = ArrivalRate()
    rate.add(5 * NS, 40)
    assert rate.rate_hz(0.0) == 0.0
    rate.add(5 * NS + 100 * MS, 40)
    assert rate.rate_hz(0.0) == pytest.approx(400)
    assert rate.rate_hz(1.0) < 40


def test_a_clock_that_jumps_an_hour_ahead_loses_no_messages():
    period = StampPeriod(50)
    assert period.gaps_by_stamps(np.array([20 * MS, 3600 * NS, 20 * MS])) == 0
    assert period.gap_by_stamp(3600 * NS) == 0
    assert period.gaps_by_stamps(np.array([2 * NS])) == 99
