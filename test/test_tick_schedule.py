"""When a tick is due, and that only one of several threads takes it."""

import threading

import pytest

from sentryfuse_ros.runtime.tick_schedule import LATEST_S, SOONEST_S, TickSchedule

T0, MS = 1_700_000_000_000_000_000, 1_000_000


@pytest.fixture
def ticks():
    schedule = TickSchedule(10.0, 30.0)
    schedule.begin(T0)
    return schedule


def test_polls_are_a_whole_number_per_period():
    assert TickSchedule(10.0, 30.0).poll_period_s == pytest.approx(1 / 30)
    assert TickSchedule(25.0, 30.0).poll_period_s == pytest.approx(1 / 50)


def test_nothing_is_due_before_the_first_tick_and_after_a_reset(ticks):
    fresh = TickSchedule(10.0, 30.0)
    assert not fresh.is_due(T0) and not fresh.is_missed(T0) and fresh.claim(T0) is None
    ticks.reset()
    assert not ticks.is_due(T0 + 10**12) and ticks.claim(T0 + 10**12) is None


def test_a_tick_is_due_at_its_poll_and_missed_a_quarter_period_later(ticks):
    assert ticks.claim(T0) == 0.0
    assert [ticks.is_due(T0 + t * MS) for t in (98, 99)] == [False, True]
    assert [ticks.cannot_wait(T0 + t * MS) for t in (110, 117)] == [False, True]
    assert [ticks.is_missed(T0 + t * MS) for t in (124, 125)] == [False, True]


def test_under_simulated_time_a_tick_is_due_at_the_nearest_poll():
    ticks = TickSchedule(10.0, 30.0, simulated=True)
    ticks.begin(T0)
    assert ticks.claim(T0) == 0.0
    assert [ticks.is_due(T0 + t * MS) for t in (80, 84)] == [False, True]


def polls_until(ticks, now_ms, end_ms, late_ms=0.0, **options):
    """When polls come that are so late [ms after T0], where each takes the tick that is due."""
    found = []
    while True:
        now_ms += 1e3 * ticks.until_poll_s(round(T0 + now_ms * MS), **options) + late_ms
        if now_ms > end_ms:
            return found
        found.append(round(now_ms, 1))
        ticks.claim(round(T0 + now_ms * MS))


def test_polls_come_at_ticks_and_shortly_before_them_and_in_between(ticks):
    assert polls_until(TickSchedule(10.0, 30.0), 0, 100) == [33.3, 66.7, 100.0]  # no tick is due yet
    ticks.claim(T0)
    assert polls_until(ticks, 0, 205) == [46.0, 92.0, 100.0, 146.0, 192.0, 200.0]
    assert polls_until(ticks, 200, 405, between=False) == [300.0, 400.0]


def test_polls_that_are_late_keep_the_rhythm(ticks):
    ticks.claim(T0)
    assert polls_until(ticks, 0, 405, late_ms=3.0)[-3:] == [349.0, 395.0, 403.0]
    assert polls_until(ticks, 403, 605, between=False, late_ms=3.0) == [503.0, 603.0]


def test_as_few_polls_as_ticks_come_at_ticks():
    ticks = TickSchedule(10.0, 10.0)
    ticks.begin(T0)
    ticks.claim(T0)
    assert polls_until(ticks, 0, 305) == [100.0, 200.0, 300.0]


def test_a_tick_that_waits_for_a_sample_needs_no_poll_of_its_own(ticks):
    assert ticks.until_poll_s(T0 + MS) == pytest.approx(1 / 30)
    assert ticks.until_last_poll_s(T0 + MS) == 0
    ticks.claim(T0)
    assert ticks.until_last_poll_s(T0 + MS) == pytest.approx(0.091)


def test_a_claim_counts_once_and_the_next_tick_keeps_the_rhythm(ticks):
    ticks.claim(T0)
    assert ticks.claim(T0 + 110 * MS) == pytest.approx(0.010)
    assert ticks.claim(T0 + 111 * MS) is None
    assert ticks.claim(T0 + 200 * MS) == 0.0


def test_ticks_that_nobody_took_are_left_out(ticks):
    ticks.claim(T0)
    assert ticks.claim(T0 + 730 * MS) == pytest.approx(0.630)
    assert ticks.claim(T0 + 740 * MS) is None and ticks.claim(T0 + 800 * MS) == 0.0


def test_of_many_threads_one_takes_the_tick(ticks):
    taken, go = [], threading.Barrier(8)

    def claim():
        go.wait(180)
        taken.append(ticks.claim(T0))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert sorted(taken, key=str) == [0.0] + [None] * 7


def test_the_wait_for_a_missed_tick_is_bounded_whatever_the_clock_does(ticks):
    ticks.claim(T0)
    assert ticks.until_missed_s(T0 + 100 * MS) == pytest.approx(0.025)
    assert ticks.until_missed_s(T0 + 10**12) == SOONEST_S and ticks.until_missed_s(T0 - 10**12) == LATEST_S
    assert ticks.until_missed_s(0) == pytest.approx(0.1)
