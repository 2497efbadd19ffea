"""The ring of rows: windows, late rows, jumps of time and growth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.sensing.window_buffer import GROWTH_LIMIT, RESTART_AFTER, WindowBuffer

MS = 1_000_000


def rows_at(stamps):
    """Rows that carry their own stamp, so that a mix-up of rows and stamps shows."""
    stamps = np.asarray(stamps, np.int64)
    return stamps, np.stack([stamps / MS, -stamps / MS], axis=1).astype(np.float32).reshape(len(stamps), 2)


def test_window_is_open_at_its_start_and_closed_at_its_end():
    buffer = WindowBuffer(0.01, 1000, (2,))
    buffer.append(*rows_at(np.arange(1, 24) * MS))
    stamps, rows = buffer.window(20 * MS)
    assert stamps.tolist() == [t * MS for t in range(11, 21)]
    assert rows[:, 0].tolist() == list(range(11, 21))


def test_window_is_a_contiguous_view_at_any_position_of_the_ring():
    buffer = WindowBuffer(0.02, 1000, (2,))
    for t in range(1, 200):
        buffer.append(*rows_at([t * MS]))
        stamps, rows = buffer.window(t * MS)
        assert rows.flags["C_CONTIGUOUS"] and rows.base is not None
        assert stamps.tolist() == [k * MS for k in range(max(1, t - 19), t + 1)]
        assert np.array_equal(rows[:, 0], stamps / MS)


def test_a_view_survives_half_a_window_of_new_rows():
    buffer = WindowBuffer(0.1, 1000, (2,))
    for t in range(1, 501):
        buffer.append(*rows_at([t * MS]))
    _, rows = buffer.window(500 * MS)
    before = rows.copy()
    buffer.append(*rows_at(np.arange(501, 551) * MS))
    assert np.array_equal(rows, before)
    buffer.append(*rows_at(np.arange(551, 651) * MS))
    assert not np.array_equal(rows, before), "the promise is about views, so this window must be one"


def test_empty_buffer_gives_empty_window_of_the_right_shape():
    buffer = WindowBuffer(1.0, 10, (3, 4, 5))
    stamps, rows = buffer.window(123)
    assert stamps.shape == (0,) and rows.shape == (0, 3, 4, 5) and buffer.newest_ns == 0
    buffer.append(np.zeros(0, np.int64), np.zeros((0, 3, 4, 5), np.float32))
    assert len(buffer) == 0


def test_scalar_rows_for_audio():
    buffer = WindowBuffer(0.1, 16000)
    stamps = 1 + np.arange(4000, dtype=np.int64) * 62500
    for start in range(0, 4000, 320):
        buffer.append(stamps[start : start + 320], np.arange(start, min(start + 320, 4000), dtype=np.float32))
    got, rows = buffer.window(int(stamps[-1]))
    assert len(rows) == 1600 and rows[-1] == 3999 and np.array_equal(stamps[rows.astype(int)], got)


def test_clear_forgets_rows():
    buffer = WindowBuffer(1.0, 10, (2,))
    buffer.append(*rows_at([5 * MS]))
    buffer.clear()
    assert len(buffer) == 0 and buffer.newest_ns == 0 and len(buffer.window(10 * MS)[0]) == 0
    buffer.append(*rows_at([2 * MS]))
    assert buffer.newest_ns == 2 * MS and buffer.skipped == 0


@pytest.mark.parametrize("appended", [15, 97])  # before and after the ring has come round
def test_rows_before_a_moment_can_be_forgotten(appended):
    buffer = WindowBuffer(0.02, 1000, (2,))
    for t in range(1, appended + 1):
        buffer.append(*rows_at([t * MS]))
    buffer.forget_before((appended - 3) * MS)
    stamps, rows = buffer.window(appended * MS)
    assert stamps.tolist() == [t * MS for t in range(appended - 3, appended + 1)] and len(buffer) == 4
    assert rows[:, 0].tolist() == [t / MS for t in stamps.tolist()]
    buffer.append(*rows_at([(appended + 1) * MS]))
    assert len(buffer.window((appended + 1) * MS)[0]) == 5
    buffer.forget_before((appended + 2) * MS)
    assert len(buffer) == 0 and buffer.newest_ns == 0


def test_row_older_than_the_window_is_skipped_and_counted():
    buffer = WindowBuffer(0.01, 1000, (2,))
    buffer.append(*rows_at([100 * MS]))
    buffer.append(*rows_at([50 * MS, 95 * MS]))
    assert buffer.skipped == 1
    assert buffer.window(100 * MS)[0].tolist() == [95 * MS, 100 * MS]


def test_one_wrong_future_stamp_does_not_block_the_sensor():
    buffer = WindowBuffer(0.1, 100, (2,))
    buffer.append(*rows_at(np.arange(1, 11) * 10 * MS))
    buffer.append(*rows_at([3_600_000 * MS]))
    for t in range(1, RESTART_AFTER + 1):
        buffer.append(*rows_at([(100 + 10 * t) * MS]))
    assert buffer.newest_ns == (100 + 10 * RESTART_AFTER) * MS
    assert buffer.skipped == RESTART_AFTER - 1
    stamps, rows = buffer.window(buffer.newest_ns)
    kept = 10 - (RESTART_AFTER - 1)  # all of the window but the skipped ones, what came before the wild stamp included
    assert len(stamps) == kept and np.array_equal(rows[:, 0], stamps / MS)


def test_time_that_goes_back_without_a_clear_begins_a_new_window():
    buffer = WindowBuffer(0.1, 100, (2,))
    buffer.append(*rows_at(np.arange(500, 600, 10) * MS))
    for t in range(10, 100, 10):
        buffer.append(*rows_at([t * MS]))
    assert buffer.newest_ns == 90 * MS
    assert buffer.window(90 * MS)[0].tolist() == [t * MS for t in range(10 * RESTART_AFTER, 100, 10)]


def test_one_delayed_message_does_not_empty_the_window():
    buffer = WindowBuffer(0.1, 100, (2,))
    buffer.append(*rows_at(np.arange(1, 50) * 10 * MS))
    buffer.append(*rows_at([10 * MS]))
    buffer.append(*rows_at([500 * MS]))
    assert len(buffer.window(500 * MS)[0]) == 10 and buffer.skipped == 1


def test_a_faster_sensor_than_configured_keeps_its_whole_window():
    buffer = WindowBuffer(1.0, 50, (2,))
    for t in range(1, 1001):
        buffer.append(*rows_at([t * 2 * MS]))  # 500 Hz
    assert len(buffer.window(2000 * MS)[0]) == 500 and buffer.lost == 0


def test_growth_is_bounded_and_lost_rows_are_counted():
    buffer = WindowBuffer(1.0, 10, (2,))
    limit = 17 * GROWTH_LIMIT
    buffer.append(*rows_at(np.arange(1, 5001) * 1000))
    assert len(buffer) == limit and buffer.lost == 5000 - limit
    assert buffer.newest_ns == 5_000_000


@pytest.mark.parametrize("window_s, rate_hz", [(0, 10), (-1, 10), (1, 0), (float("nan"), 10), (1, float("inf"))])
def test_bad_size_is_named(window_s, rate_hz):
    with pytest.raises(ParameterError, match="WindowBuffer"):
        WindowBuffer(window_s, rate_hz, (2,))


def test_rows_of_the_wrong_shape_are_named():
    with pytest.raises(ParameterError, match="rows"):
        WindowBuffer(1.0, 10, (2,)).append(np.ones(3, np.int64), np.ones((3, 5), np.float32))


@given(st.lists(st.lists(st.integers(1, 60), max_size=8), max_size=30), st.integers(1, 70))
def test_any_order_of_stamps_reads_like_a_sorted_list(batches, end_ms):
    """All stamps lie within one window (70 ms), so nothing may be skipped, whatever the order of arrival."""
    buffer = WindowBuffer(0.07, 100, (2,))
    for batch in batches:
        buffer.append(*rows_at(np.array(batch, np.int64) * MS))
    stamps, rows = buffer.window(end_ms * MS)
    expected = sorted(t * MS for batch in batches for t in batch if t <= end_ms)
    if buffer.lost == 0:
        assert stamps.tolist() == expected
    assert np.array_equal(rows[:, 0], stamps / MS) and np.array_equal(rows[:, 1], -stamps / MS)
    assert buffer.newest_ns == max((t * MS for batch in batches for t in batch), default=0)
