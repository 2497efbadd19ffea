"""Arrival times on a simulated clock of any speed."""

import numpy as np

from sentryfuse_ros.runtime.simulated_arrivals import SimulatedArrivals

STEADY, SIMULATED, MS = 5_000_000_000_000, 1_700_000_000_000_000_000, 1_000_000


def clock(speed, pauses=()):
    """Moments 33 ms apart over a second, and the last of them."""
    arrivals, simulated = SimulatedArrivals(), SIMULATED
    for i in range(31):
        arrivals.note(STEADY + i * 33 * MS, simulated)
        simulated += int(33 * MS * speed) if i not in pauses else 0
    return arrivals, STEADY + 31 * 33 * MS, simulated


def ages(*milliseconds):
    return np.array(milliseconds, np.int64) * MS


def test_a_second_ago_is_a_tenth_of_a_second_at_a_tenth_of_the_speed():
    arrivals, steady, simulated = clock(0.1)
    assert np.abs(arrivals.at(ages(1000, 500, 0), steady, simulated) - (simulated - ages(100, 50, 0))).max() <= 1000


def test_a_second_ago_is_ten_seconds_at_ten_times_the_speed():
    arrivals, steady, simulated = clock(10.0)
    assert abs(int(arrivals.at(ages(100), steady, simulated)[0]) - (simulated - 1000 * MS)) <= 1000


def test_what_came_before_a_pause_came_when_the_pause_began():
    arrivals, steady, simulated = clock(1.0, pauses=range(21, 31))
    assert arrivals.at(ages(100, 300), steady, simulated).tolist() == [simulated, simulated]


def test_what_is_older_than_all_moments_came_at_the_first_of_them():
    arrivals, steady, simulated = clock(1.0)
    assert arrivals.at(ages(5000), steady, simulated).tolist() == [SIMULATED]


def test_without_a_moment_everything_came_now():
    arrivals, steady, simulated = clock(1.0)
    arrivals.reset()
    assert arrivals.at(ages(100), steady, simulated).tolist() == [simulated]
    assert arrivals.at(ages(), steady, simulated).tolist() == []
