"""Messages that are missing by the steps between stamps, apart from those that were only stamped late."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentryfuse_ros.sensing.missing_balance import OWED_STAMPS, MissingBalance

SETTLE = [1.0] * OWED_STAMPS


def missing(steps):
    balance = MissingBalance()
    return sum(balance.add(float(step)) for step in steps)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_gaps_of_an_even_driver_are_counted_exactly(steps):
    assert missing([*steps, *SETTLE]) == sum(steps) - len(steps)


def test_a_lost_message_is_known_with_the_fifth_stamp_after_it():
    balance = MissingBalance()
    assert [balance.add(step) for step in (1, 2, 1, 1, 1, 1, 1)] == [0, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "steps",
    [(1.8, 0.2), (1.7, 0.7, 0.6), (2.8, 0.1, 0.1), (0.2, 1.8), (2, -1, 1), (1, -1, 2)],
    ids=["late", "late, made up for slowly", "three at once", "early", "out of order", "out of order and late"],
)
def test_a_message_that_is_stamped_late_or_early_is_not_missing(steps):
    assert missing((*SETTLE, *steps, *SETTLE) * 50) == 0


@pytest.mark.parametrize("size", [2, 5, 6, 10, 40])
@pytest.mark.parametrize("inside", [0.0, 0.01, 0.4], ids=["equal stamps", "short steps", "longer steps"])
def test_a_burst_of_any_size_pays_back_what_its_first_message_seemed_to_owe(size, inside):
    burst = [size - (size - 1) * inside, *[inside] * (size - 1)]
    assert missing(burst * 60) == 0
    lost = missing([*burst * 20, 3 * size + burst[0], *burst[1:], *burst * 20])  # three whole bursts
    assert 0.9 * 3 * size - 1 <= lost <= 3 * size


def test_equal_stamps_hide_no_lost_message():
    assert missing([1, 0] * 20 + [4] + [1, 1] * 20) == 3


def test_messages_without_stamp_fill_a_gap_and_no_more():
    balance = MissingBalance()
    counted = [balance.add(step, filled) for step, filled in ((5, 1), (1, 5), (2, 4), *((step, 0) for step in SETTLE))]
    assert sum(counted) == 3


@pytest.mark.parametrize("jitter", [0.3, 0.5, 0.8])
def test_stamps_that_jitter_count_as_missing_only_what_is(jitter):
    """Stamps that are up to so many periods before or after the time at which they are due."""
    random = np.random.default_rng(0)
    due = np.arange(4000)
    stamps = np.maximum.accumulate(due + random.uniform(-jitter, jitter, len(due)))
    assert missing(np.diff(stamps)) <= 4, "one in a thousand"
    outages = (due < 500) | (due % 500 >= 20)  # 20 messages in each of seven
    assert 135 <= missing(np.diff(stamps[outages])) <= 145
    kept = random.random(len(due)) > 0.33
    assert missing(np.diff(stamps[kept])) == pytest.approx(len(due) - kept.sum(), rel=0.1)


def test_a_period_that_is_a_little_wrong_counts_nothing():
    for wrong in (0.98, 1.02):
        assert missing([wrong] * 500 + [1.8 * wrong, 0.2 * wrong] + [wrong] * 500) == 0
