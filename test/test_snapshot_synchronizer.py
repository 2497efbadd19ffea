"""The message filter: matching, silence, jumps of time, callbacks and threads."""

import logging
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_source import MS, S, Source, synchronizer

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.sensing.snapshot_synchronizer import MatchedSet, SnapshotSynchronizer

# ---- matching -----------------------------------------------------------------------------------------------------


def test_every_pair_is_matched_once():
    _, (a, b), sets, _ = synchronizer(2)
    for t in range(0, 1000, 10):
        a.send(t)
        b.send(t + 3)
    assert sets == [(t, t + 3) for t in range(0, 1000, 10)]


def test_messages_further_apart_than_the_slop_are_not_matched():
    _, (a, b), sets, _ = synchronizer(2, slop_s=0.005)
    for t in range(0, 300, 100):
        a.send(t)
        b.send(t + 6)
    assert sets == []
    b.send(305)
    a.send(300)
    assert sets == [(300, 305)]


def test_the_nearest_partner_is_matched():
    _, (camera, imu), sets, _ = synchronizer(2, slop_s=0.02)
    for t in range(0, 52, 2):
        imu.send(t)
    camera.send(31)
    assert sets in ([(31, 30)], [(31, 32)])


def test_the_set_with_the_smallest_spread_is_matched():
    """Nearest to the new message would be 8 and 22: 14 apart. With 13 all three lie within 10."""
    _, (a, b, c), sets, _ = synchronizer(3, slop_s=0.01)
    b.send(8)
    b.send(13)
    c.send(22)
    a.send(14)
    assert sets == [(14, 13, 22)]


def test_a_lost_message_does_not_shift_the_pairs_after_it():
    _, (a, b), sets, _ = synchronizer(2, slop_s=0.015)
    for t in range(0, 200, 10):
        a.send(t)
        if t != 50:
            b.send(t)
    assert [pair for pair in sets if pair[0] != pair[1]] == []
    assert len(sets) == 19


def test_queue_is_bounded():
    sync, (a, b), sets, _ = synchronizer(2, queue_size=5, slop_s=0.001, timeout_s=100)
    for t in range(20):
        a.send(t * 10)
    assert sync.dropped == 15
    for t in range(20):
        b.send(t * 10)
    assert sets == [(t * 10, t * 10) for t in range(15, 20)]


# ---- a silent input -----------------------------------------------------------------------------------------------


def test_no_set_is_lost_while_one_input_is_silent():
    _, (a, b, _), sets, clock = synchronizer(3, queue_size=100, timeout_s=0.5)
    for k in range(1000):
        clock.now_ns += 10 * MS
        a.send(k * 10)
        b.send(k * 10 + 1)
    assert sets == [(k * 10, k * 10 + 1, None) for k in range(1000)]


def test_stamps_show_silence_when_a_bag_is_played_at_full_speed():
    _, (a, b, _), sets, _ = synchronizer(3, timeout_s=0.5)  # the clock stands still
    for k in range(1000):
        a.send(k * 10)
        b.send(k * 10 + 1)
    assert len(sets) == 1000


def test_an_input_may_die_and_return():
    _, (a, b, c), sets, clock = synchronizer(3, timeout_s=0.2)
    for k in range(300):
        clock.now_ns += 10 * MS
        a.send(k * 10)
        b.send(k * 10)
        if not 100 <= k < 200:
            c.send(k * 10)
    # At 2000 c comes back just after a and b: their set was not held back for it.
    assert sets == [(k * 10, k * 10, None if 100 <= k <= 200 else k * 10) for k in range(300)]


def test_a_slow_live_input_is_waited_for():
    _, (imu, camera), sets, clock = synchronizer(2, timeout_s=0.5, slop_s=0.004)
    for k in range(1000):
        clock.now_ns += 5 * MS
        imu.send(k * 5)
        if k % 40 == 39:
            camera.send(k * 5)
    assert sets == [(k * 5, k * 5) for k in range(39, 1000, 40)]


def test_a_lagging_input_is_waited_for():
    _, (a, b), sets, clock = synchronizer(2, timeout_s=0.5)
    for k in range(100):
        clock.now_ns += 10 * MS
        a.send(k * 10)
        if k >= 30:
            b.send((k - 30) * 10)
    assert sets == [(k * 10, k * 10) for k in range(70)]


def test_after_a_stall_of_the_process_no_input_counts_as_silent():
    _, (a, b), sets, clock = synchronizer(2, timeout_s=0.2)
    for k in range(200):
        clock.now_ns += 3 * S if k == 100 else 10 * MS
        t = k * 10 + (3000 if k >= 100 else 0)
        a.send(t)
        b.send(t)
    assert len(sets) == 200 and all(None not in s for s in sets)


def test_poll_delivers_when_all_inputs_fall_silent():
    sync, (a, b), sets, clock = synchronizer(2, timeout_s=0.2)
    a.send(0)
    for _ in range(3):
        clock.now_ns += 100 * MS
        sync.poll()
    assert sets == [(0, None)]


# ---- jumps of time ------------------------------------------------------------------------------------------------


def test_bag_loop_with_waiting_messages_loses_no_pair():
    _, (a, b), sets, clock = synchronizer(2, queue_size=50, timeout_s=0.5)
    for k in range(300):
        clock.now_ns += 10 * MS
        a.send(5000 + k * 10)  # b sends nothing: the queue of a is full when time jumps
        if k < 100:
            b.send(5000 + k * 10)
    sets.clear()
    for k in range(300):
        clock.now_ns += 10 * MS
        a.send(k * 10)
        b.send(k * 10)
    assert sets[-299:] == [(k * 10, k * 10) for k in range(1, 300)]


def test_inputs_may_jump_back_at_different_moments():
    _, (a, b), sets, clock = synchronizer(2, timeout_s=0.5)
    for loop in range(3):
        for k in range(100):
            clock.now_ns += 10 * MS
            a.send(k * 10)
            if loop or k >= 5:  # b runs five messages behind, also over the end of the bag
                b.send((k - 5) % 100 * 10)
    # Lost: the five messages of a that waited for b at each of the two jumps.
    assert len(sets) == 295 - 2 * 5 and all(s[0] == s[1] for s in sets)


def test_one_wrong_future_stamp_loses_at_most_its_own_message():
    _, (a, b), sets, clock = synchronizer(2, timeout_s=0.5)
    for k in range(100):
        clock.now_ns += 10 * MS
        a.send(3_600_000 if k == 50 else k * 10)
        b.send(k * 10)
    assert len(sets) == 99


def test_reset_forgets_waiting_messages():
    sync, (a, b), sets, _ = synchronizer(2)
    a.send(10)
    sync.reset()
    b.send(10)
    assert sets == []


# ---- callbacks ----------------------------------------------------------------------------------------------------


def test_callbacks_get_their_arguments_until_they_are_unregistered():
    sync, (a, b), _, _ = synchronizer(2)
    got = []
    first = sync.registerCallback(lambda *args: got.append(args[2:]), "x", 7)
    second = sync.registerCallback(lambda *args: got.append("second"))
    assert first != second
    a.send(0), b.send(0)
    assert got == [("x", 7), "second"]
    sync.unregisterCallback(first)
    a.send(10), b.send(10)
    assert got[2:] == ["second"]


def test_exception_is_logged_and_other_callbacks_are_called(caplog):
    sync, (a, b), sets, _ = synchronizer(2)

    def broken(*_):
        raise RuntimeError("no disk")

    sync.registerCallback(broken)
    after = []
    sync.registerCallback(lambda *_: after.append(1))
    with caplog.at_level(logging.ERROR):
        for t in range(5):
            a.send(t * 100), b.send(t * 100)
    assert len(sets) == len(after) == 5
    assert "broken" in caplog.text and "no disk" in caplog.text and len(caplog.records) == 5


def test_on_error_that_raises_reaches_the_caller_after_all_callbacks():
    errors = []

    def raise_again(error, callback):
        errors.append(callback)
        raise error

    sync, (a, b), sets, _ = synchronizer(2, on_error=raise_again)

    def broken(*_):
        raise RuntimeError("no disk")

    sync.registerCallback(broken)
    after = []
    sync.registerCallback(lambda *_: after.append(1))
    a.send(0)
    with pytest.raises(RuntimeError, match="no disk"):
        b.send(0)
    assert errors == [broken] and after == [1]
    a.send(100)
    with pytest.raises(RuntimeError):
        b.send(100)
    assert after == [1, 1] and len(sets) == 2


def test_keyboard_interrupt_reaches_the_caller_and_matching_continues():
    sync, (a, b), sets, _ = synchronizer(2)
    interrupt = [KeyboardInterrupt()]

    def pressed(*_):
        if interrupt:
            raise interrupt.pop()

    sync.registerCallback(pressed)
    a.send(0)
    with pytest.raises(KeyboardInterrupt):
        b.send(0)
    a.send(100), b.send(100)
    assert len(sets) == 2


def test_a_callback_may_send_messages_to_the_inputs():
    sync, (a, b), sets, _ = synchronizer(2)

    def feed(first, _):
        if first.ms < 50:
            a.send(first.ms + 10), b.send(first.ms + 10)

    sync.registerCallback(feed)
    a.send(0), b.send(0)
    assert [s[0] for s in sets] == [0, 10, 20, 30, 40, 50]


def test_threads_lose_no_set_and_callbacks_never_overlap():
    sources, sets, inside = [Source(), Source()], [], []
    sync = SnapshotSynchronizer(sources, queue_size=2000, slop_s=0.001, timeout_s=1000)

    def callback(x, y):
        inside.append(1)
        assert len(inside) == 1
        sets.append((x.ms, y.ms))
        inside.pop()

    failures = []
    sync.registerCallback(callback)
    sync._on_error = lambda error, _: failures.append(error)
    threads = [threading.Thread(target=lambda s=s: [s.send(t * 10) for t in range(1500)]) for s in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert failures == [] and sets == [(t * 10, t * 10) for t in range(1500)]


def test_a_second_thread_leaves_its_set_to_the_delivering_one():
    sync, (a, b), sets, _ = synchronizer(2)
    entered, release = threading.Event(), threading.Event()

    def slow(first, _):
        if first.ms == 0:
            entered.set()
            assert release.wait(180)

    sync.registerCallback(slow)
    worker = threading.Thread(target=lambda: (a.send(0), b.send(0)))
    worker.start()
    assert entered.wait(180)
    a.send(100), b.send(100)  # returns at once: neither blocked nor run beside the callback at work
    assert sets == [(0, 0)]
    release.set()
    worker.join(180)
    assert sets == [(0, 0), (100, 100)]


def test_messages_without_header_are_dropped_or_stamped_by_arrival(caplog):
    sync, (a, b), sets, clock = synchronizer(2)
    with caplog.at_level(logging.WARNING):
        for cb, args in a.connections:
            cb("text", *args), cb("text", *args)
    assert sync.dropped == 2 and len(caplog.records) == 1 and "allow_headerless" in caplog.text
    got = []
    sync = SnapshotSynchronizer([a, b], allow_headerless=True, clock_ns=clock)
    sync.registerCallback(lambda *messages: got.append(messages))
    clock.now_ns = 70 * MS
    (cb, args), partner = a.connections[-1], b
    cb("text", *args)
    msg = partner.send(71)
    assert got == [("text", msg)]


def test_synchronisers_can_be_chained():
    a, b, c = Source(), Source(), Source()
    inner = SnapshotSynchronizer([a, b])
    outer = SnapshotSynchronizer([inner, c])
    got = []
    outer.registerCallback(lambda pair, single: got.append((pair, single)))
    first, second, third = a.send(10), b.send(12), c.send(11)
    pair, single = got[0]
    assert isinstance(pair, MatchedSet) and pair.messages == (first, second) and pair.header is second.header
    assert single is third


@pytest.mark.parametrize(
    "options",
    [dict(queue_size=0), dict(slop_s=-1), dict(slop_s=float("nan")), dict(timeout_s=0), dict(timeout_s=float("inf"))],
)
def test_impossible_parameters_are_named(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        SnapshotSynchronizer([Source()], **options)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400)), max_size=120), st.integers(0, 40))
def test_sets_are_within_the_slop_in_order_and_use_no_message_twice(arrivals, slop_ms):
    sync, sources, sets, clock = synchronizer(3, slop_s=slop_ms / 1000, timeout_s=1.0)
    for slot, stamp_ms in arrivals:
        clock.now_ns += MS
        sources[slot].send(stamp_ms)
    for s in sets:
        assert None not in s and max(s) - min(s) <= slop_ms
    newest = [max(s) for s in sets]
    assert newest == sorted(set(newest))
    for slot in range(3):
        used = [s[slot] for s in sets]
        assert len(used) == len(set(used))
    assert sync.dropped + sync.waiting + 3 * len(sets) == len(arrivals)
