"""Measured rates, timeouts, and messages missing between stamps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.sensing.missing_balance import OWED_STAMPS
from sentryfuse_ros.sensing.rates import STEPS_KEPT, UNKNOWN_TIMEOUT_S, ArrivalPause, ArrivalRate, StampPeriod

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


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-2, 2)), min_size=1, max_size=40))
def test_gaps_are_counted_in_spite_of_jitter(messages):
    due = 10 * np.cumsum([0, *(periods for periods, _ in messages), *[1] * OWED_STAMPS])
    steps = np.diff(due + [0, *(late_ms for _, late_ms in messages), *[0] * OWED_STAMPS]) * MS
    assert StampPeriod(100).gaps_by_stamps(steps) == sum(periods - 1 for periods, _ in messages)
    one = StampPeriod(100)
    assert sum(one.gap_by_stamp(int(step)) for step in steps) == sum(periods - 1 for periods, _ in messages)


@given(st.lists(st.integers(-50, 200), min_size=1, max_size=200), st.sampled_from([0.0, 100.0]))
def test_a_single_step_teaches_and_misses_what_an_array_of_it_does(steps_ms, rate_hz):
    one, other = StampPeriod(rate_hz), StampPeriod(rate_hz)
    for step_ms in steps_ms:
        one.learn_step(step_ms * MS)
        assert one.gap_by_stamp(step_ms * MS, 1) == other.gaps_by_stamps(np.array([step_ms * MS]), np.array([1]))
        assert one.period_ns == other.period_ns


def test_messages_without_stamp_fill_a_gap():
    period, settle = StampPeriod(100), np.full(OWED_STAMPS, 10)
    assert period.gap_by_stamp(50 * MS, filled=1) == 0 and period.gaps_by_stamps(settle * MS) == 3
    assert period.gaps_by_stamps(np.array([50, 10, 20, *settle]) * MS, np.array([1, 5, 4, *(0 * settle)])) == 3


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
    assert period.gaps_by_stamps(np.array([2 * NS] + [20 * MS] * OWED_STAMPS)) == 99


def test_a_sensor_that_was_off_for_an_hour_loses_no_messages_by_arrival_either():
    period = StampPeriod(10)
    counts = [period.gaps_by_arrival(at_ns, 1) for at_ns in (0, NS // 10, 3600 * NS, 3600 * NS + NS // 10)]
    assert counts == [0, 0, 0, 0]
    assert period.gaps_by_arrival(3602 * NS + NS // 10, 1) == 19


def test_stamps_that_come_in_bursts_are_no_losses():
    period = StampPeriod()
    stamps = (np.arange(1000)[:, None] * 20 * MS + np.arange(8) * 1500).reshape(-1)  # 8 within 12 us, every 20 ms
    missing = sum(period.gaps_by_stamps(np.diff(stamps[i : i + 9])) for i in range(0, len(stamps) - 9, 8))
    assert missing == 0 and period.period_ns == pytest.approx(2.5 * MS, rel=0.05)


def test_messages_lost_at_random_are_no_bursts():
    random, period = np.random.default_rng(0), StampPeriod()
    steps = random.geometric(0.6, 2000) * 5 * MS
    for i in range(0, 2000, 10):
        period.gaps_by_stamps(steps[i : i + 10])
    assert period.period_ns == 5 * MS


@pytest.mark.parametrize("batch", [1, 13])
@pytest.mark.parametrize("kind", ["before and after", "pairs", "triples"])
def test_the_period_of_uneven_stamps_is_their_mean(kind, batch):
    """Its median says little: of stamps in pairs, it is one of two steps."""
    random = np.random.default_rng(0)
    late = {"before and after": random.uniform(-0.7, 0.7, 4000), "pairs": np.tile([0.8, 0.0], 2000)}
    late["triples"] = np.tile([1.6, 0.8, 0.0], 1334)[:4000]
    stamps = np.maximum.accumulate(np.arange(4000) + late[kind] + random.normal(0, 0.02, 4000))
    steps, period = np.diff(np.round(stamps * 10 * MS).astype(np.int64)), StampPeriod()
    counts = [period.gaps_by_stamps(steps[i : i + batch]) for i in range(0, len(steps), batch)]
    assert period.period_ns == pytest.approx(10 * MS, rel=0.05)
    assert sum(counts) <= 40, "one in a hundred"
    outage = period.gaps_by_stamps(np.array([500 * MS])) + sum(
        period.gaps_by_stamps(steps[i : i + batch]) for i in range(0, 200, batch)
    )
    assert 45 <= outage <= 52


def test_gaps_do_not_lengthen_the_period():
    random, period = np.random.default_rng(0), StampPeriod()
    due = np.arange(4000)[random.random(4000) > 0.33]
    period.gaps_by_stamps(np.diff(np.round((due + random.uniform(-0.05, 0.05, len(due))) * 10 * MS).astype(np.int64)))
    assert period.period_ns == pytest.approx(10 * MS, rel=0.02)


def pauses(times_ns, period_ns, batch):
    """The pause that is learnt from arrivals, taken so many at once; and after each batch."""
    pause, learnt = ArrivalPause(), []
    for i in range(0, len(times_ns), batch):
        pause.add(np.asarray(times_ns[i : i + batch], np.int64), period_ns)
        learnt.append(pause.pause_s)
    return learnt


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_the_pause_between_bursts_is_learnt_however_they_are_taken(batch):
    times = np.repeat(np.arange(1, 41) * 300 * MS, 60)  # 200 Hz, handed over every 0.3 s
    learnt = pauses(times, 5 * MS, batch)
    assert learnt[-1] == pytest.approx(0.3) and learnt[len(learnt) // 5] == pytest.approx(0.3)


@pytest.mark.parametrize(
    "times",
    [
        np.arange(100) * 300 * MS,  # slow
        np.concatenate([np.arange(20) * 5 * MS + i * 500 * MS for i in range(40)]),  # silent for 0.4 s of every 0.5 s
        np.arange(4000) * 5 * MS,
    ],
    ids=["slow", "stutters", "regular"],
)
@pytest.mark.parametrize("batch", [1, 7, 200])
def test_a_sensor_of_which_messages_are_missing_has_no_pause(times, batch):
    assert set(pauses(times, 5 * MS, batch)) == {0.0}


def test_a_sensor_that_sends_singly_again_has_no_pause():
    bursts = np.repeat(np.arange(1, 41) * 300 * MS, 60)
    learnt = pauses(np.concatenate([bursts, bursts[-1] + np.arange(1, 401) * 5 * MS]), 5 * MS, 10)
    assert max(learnt) == pytest.approx(0.3) and learnt[-1] == 0
