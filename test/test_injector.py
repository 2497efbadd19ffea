"""Injectors, on plain byte messages."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from sentryfuse_ros.bags.header_stamps import stamp_of, stamped
from sentryfuse_ros.replay.faults import FAULT_KINDS, InjectedFault
from sentryfuse_ros.replay.injector import Injector


def message(t_s, size=40):
    sec, nanosec = divmod(round(t_s * 1e9), 1_000_000_000)
    return b"\x00\x01\x00\x00" + struct.pack("<iI", sec, nanosec) + bytes([round(t_s * 10) % 256]) * (size - 12)


def play(faults, times, until=None):
    """Deliveries as (t_s, raw) of a 10 Hz sensor under faults."""
    injector = Injector(tuple(faults), lambda t: round(t * 1e9))
    out = []
    for t in times:
        out += [(due.t_s, due.raw) for due in injector.due(t - 1e-9)]
        injector.feed(t, message(t))
    return out + [(due.t_s, due.raw) for due in injector.due(until if until is not None else times[-1])]


TIMES = [round(0.1 * i, 3) for i in range(50)]


def test_without_faults_everything_passes_untouched():
    assert play([], TIMES) == [(t, message(t)) for t in TIMES]


def test_off_delivers_nothing_then_everything():
    out = [t for t, _ in play([InjectedFault("x", "off", 1.0, 2.0)], TIMES)]
    assert out == [t for t in TIMES if not 1.0 <= t < 2.0]


def test_freeze_repeats_the_last_payload_with_fresh_stamps_at_the_rate():
    out = play([InjectedFault("x", "freeze", 1.0, 2.0)], TIMES)
    frozen = [(t, raw) for t, raw in out if 1.0 <= t < 2.0]
    assert 9 <= len(frozen) <= 11
    assert {raw[12:] for _, raw in frozen} == {message(0.9)[12:]}
    assert all(abs(stamp_of(raw) * 1e-9 - t) < 1e-6 for t, raw in frozen)
    assert [raw for t, raw in out if t >= 2.0] == [message(t) for t in TIMES if t >= 2.0]


def test_freeze_goes_on_while_the_source_is_silent():
    times = [t for t in TIMES if not 1.5 <= t < 3.5]
    out = play([InjectedFault("x", "freeze", 1.0, 3.0)], times)
    assert 18 <= len([t for t, _ in out if 1.0 <= t < 3.0]) <= 21
    assert not [t for t, _ in out if 3.0 <= t < 3.5]


def test_garbage_keeps_rate_and_stamp_and_breaks_the_payload():
    out = [(t, raw) for t, raw in play([InjectedFault("x", "garbage", 1.0, 2.0)], TIMES) if 1.0 <= t < 2.0]
    assert len(out) == 10
    assert all(raw[:12] == message(t)[:12] and raw[12:] != message(t)[12:] for t, raw in out)
    assert len({len(raw) for _, raw in out}) == 2  # some are cut short


def test_delay_moves_delivery_not_stamps():
    out = play([InjectedFault("x", "delay", 1.0, 2.0, by_s=0.35)], TIMES)
    late = [(t, stamp_of(raw) * 1e-9) for t, raw in out if t - stamp_of(raw) * 1e-9 > 1e-6]
    assert len(late) == 10 and all(abs(t - stamp - 0.35) < 1e-6 for t, stamp in late)
    assert [t for t, _ in out] == sorted(t for t, _ in out)


def test_slow_and_intermittent_thin_out():
    assert len([t for t, _ in play([InjectedFault("x", "slow", 1.0, 3.0, keep_every=5)], TIMES) if 1.0 <= t < 3.0]) == 4
    out = [
        t for t, _ in play([InjectedFault("x", "intermittent", 1.0, 3.0, period_s=1.0, on_share=0.5)], TIMES) if 1.0 <= t < 3.0
    ]
    assert out == [t for t in TIMES if 1.0 <= t < 1.45 or 2.0 <= t < 2.45]


@given(st.lists(st.tuples(st.sampled_from(sorted(FAULT_KINDS)), st.floats(0, 4), st.floats(0.1, 2)), max_size=3))
def test_deliveries_never_go_back_in_time(entries):
    out = [
        t for t, _ in play([InjectedFault("x", kind, start, start + length) for kind, start, length in entries], TIMES, until=8.0)
    ]
    assert out == sorted(out)


def test_stamped_changes_only_the_stamp():
    raw = message(1.5)
    again = stamped(raw, 7_000_000_123)
    assert stamp_of(again) == 7_000_000_123 and again[:4] == raw[:4] and again[12:] == raw[12:]
    big = b"\x00\x00\x00\x00" + struct.pack(">iI", 5, 6)
    assert stamp_of(big) == 5_000_000_006 and stamp_of(stamped(big, 9_000_000_001)) == 9_000_000_001
    assert stamped(b"\x00\x01", 5) == b"\x00\x01" and stamp_of(b"") == 0


def test_corrupt_changes_one_to_three_bytes_of_every_payload():
    out = [(t, raw) for t, raw in play([InjectedFault("x", "corrupt", 1.0, 2.0)], TIMES) if 1.0 <= t < 2.0]
    changed = [sum(a != b for a, b in zip(raw, message(t))) for t, raw in out]
    assert len(out) == 10 and max(changed) <= 3 and sum(changed) > 5
    assert all(raw[:12] == message(t)[:12] and len(raw) == len(message(t)) for t, raw in out)


def test_burst_hands_over_together_and_loses_nothing():
    out = play([InjectedFault("x", "burst", 1.0, 3.0, period_s=0.5)], TIMES)
    assert sorted(raw for _, raw in out) == sorted(message(t) for t in TIMES)
    inside = [round(t, 6) for t, raw in out if 1.0 <= stamp_of(raw) * 1e-9 < 2.95]
    assert set(inside) == {1.5, 2.0, 2.5, 3.0} and all(inside.count(t) == 5 for t in set(inside))
