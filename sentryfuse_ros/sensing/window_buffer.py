"""The rows of one sensor's last seconds, which can always be read as one contiguous array.

The buffer is a mirrored ring: every row is written twice, ``capacity`` rows apart, so that any run of rows is a plain slice.
Writing costs two copies of the new rows; reading a window costs two binary searches and no copy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from ..errors import ParameterError
from ..nanoseconds import NS_PER_S

SLACK = 1.5  # capacity over window: a returned view stays intact until half a window of new rows was appended
GROWTH_LIMIT = 16  # a sensor up to 16 times faster than expected still fits; beyond that, rows are lost and counted
RESTART_AFTER = 3  # appends in a row wholly before the window: the clock went back, and it was not one delayed message


class WindowBuffer:
    """Rows of one sensor, sorted by stamp, for the last ``window_s`` seconds.

    window_s: length of the window [s]. rate_hz: rows per second, from which the first size is estimated; the ring grows if the
    sensor is faster. row_shape: shape of one row, ``()`` for audio. Not thread-safe: one thread appends and reads. Raises
    ParameterError for a window or rate that is not positive and finite.
    """

    def __init__(self, window_s: float, rate_hz: float, row_shape: tuple[int, ...] = (), dtype: DTypeLike = np.float32):
        for name, value in (("window_s", window_s), ("rate_hz", rate_hz)):
            if not (np.isfinite(value) and value > 0):
                raise ParameterError(f"WindowBuffer {name}", value, "a positive number", f"set {name} of this sensor")
        self.window_s, self.rate_hz = float(window_s), float(rate_hz)
        self.row_shape, self.dtype = tuple(row_shape), np.dtype(dtype)
        self.skipped = 0  # rows refused since the start because they were older than the window when they arrived
        self.rewrites = 0  # how often rows were removed, or others sorted in before them
        self.lost = 0  # rows overwritten inside the window because far more came than rate_hz promised
        self._window_ns = round(window_s * NS_PER_S)
        self._capacity_limit = 0
        self._allocate(max(16, int(np.ceil(window_s * rate_hz * SLACK)) + 2))
        self._capacity_limit = self._capacity * GROWTH_LIMIT
        self.clear()

    def __len__(self) -> int:
        return self._count

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest row, 0 when empty."""
        return self._newest_ns

    def clear(self) -> None:
        """Forget all rows; the counters ``skipped`` and ``lost`` stay."""
        self._next = self._count = self._newest_ns = self._old_appends = 0
        self.rewrites += 1

    def append(self, row_stamp_ns: np.ndarray, rows: np.ndarray) -> None:
        """Add rows. Late ones are sorted in; those older than the window are skipped and counted.

        row_stamp_ns: int64 (k,); rows: (k, *row_shape). Raises ParameterError if the shapes do not fit.
        """
        stamps = np.asarray(row_stamp_ns, np.int64)
        rows = np.asarray(rows, self.dtype)
        k = len(stamps)
        if rows.shape != (k, *self.row_shape):
            raise ParameterError("rows of WindowBuffer.append", rows.shape, (k, *self.row_shape), "check the decoder")
        if k == 0:
            return
        if np.count_nonzero(stamps[1:] < stamps[:-1]):
            order = np.argsort(stamps, kind="stable")
            stamps, rows = stamps[order], rows[order]
        if self._count and stamps[0] < self._newest_ns:
            stamps, rows = self._merge(stamps, rows)
            if not len(stamps):
                return
        self._old_appends = 0
        self._make_room(stamps)
        self._write(stamps, rows)

    def window(self, end_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows with ``end_ns - window_s < stamp <= end_ns``: stamps int64 (k,), rows (k, *row_shape).

        Both are contiguous views and not copies: use them before half a window of further rows is appended. For the same
        reason a window is complete only if it ends less than half a window before the newest row.
        """
        stop = self._next + self._capacity
        start = stop - self._count
        stamps = self._stamps[start:stop]
        low = start + int(stamps.searchsorted(end_ns - self._window_ns, "right"))
        high = start + int(stamps.searchsorted(end_ns, "right"))
        return self._stamps[low:high], self._rows[low:high]

    def forget_before(self, stamp_ns: int) -> None:
        """Forget the rows that are older than ``stamp_ns``."""
        stop = self._next + self._capacity
        start = stop - self._count
        self._count -= int(self._stamps[start:stop].searchsorted(stamp_ns, "left"))
        self.rewrites += 1
        if not self._count:
            self.clear()

    def _merge(self, stamps: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Remove the rows from the ring that are newer than the late ones, and return both sorted together."""
        oldest_kept = int(np.searchsorted(stamps, self._newest_ns - self._window_ns, "right"))
        self.skipped += oldest_kept
        if oldest_kept == len(stamps):
            self._old_appends += 1
            if self._old_appends < RESTART_AFTER:
                return stamps[:0], rows[:0]
            # The ring holds rows from a wrong future stamp, or time went back without a reset: the newer rows are wrong.
            self.skipped -= oldest_kept
            self._remove_after(int(stamps[0]))
            return stamps, rows
        stamps, rows = stamps[oldest_kept:], rows[oldest_kept:]
        tail_stamps, tail_rows = self._remove_after(int(stamps[0]))
        stamps, rows = np.concatenate((tail_stamps, stamps)), np.concatenate((tail_rows, rows))
        order = np.argsort(stamps, kind="stable")  # equal stamps stay in order of arrival
        return stamps[order], rows[order]

    def _remove_after(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Remove the rows newer than ``stamp_ns`` from the ring and return them."""
        stop = self._next + self._capacity
        start = stop - self._count
        self.rewrites += 1
        first = start + int(self._stamps[start:stop].searchsorted(stamp_ns, "right"))
        self._count -= stop - first
        self._next = (self._next - (stop - first)) % self._capacity
        return self._stamps[first:stop], self._rows[first:stop]

    def _make_room(self, stamps: np.ndarray) -> None:
        """Grow the ring if the write would overwrite rows that are still inside the window."""
        surplus = self._count + len(stamps) - self._capacity
        if surplus <= 0:
            return
        stop = self._next + self._capacity
        kept, from_ns = self._stamps[stop - self._count : stop], int(stamps[-1]) - self._window_ns
        inside = sum(len(part) - int(part.searchsorted(from_ns, "right")) for part in (kept, stamps))
        if inside <= self._capacity:
            return
        wanted = min(int(inside * SLACK), self._capacity_limit)
        if wanted > self._capacity:
            old_stamps, old_rows = self._stamps[stop - self._count : stop], self._rows[stop - self._count : stop]
            self._allocate(wanted)
            self._next = self._count = 0
            self._write(old_stamps, old_rows)
        self.lost += max(0, inside - self._capacity)

    def _allocate(self, capacity: int) -> None:
        self._capacity = capacity
        self._stamps = np.zeros(2 * capacity, np.int64)
        self._rows = np.zeros((2 * capacity, *self.row_shape), self.dtype)

    def _write(self, stamps: np.ndarray, rows: np.ndarray) -> None:
        capacity = self._capacity
        stamps, rows = stamps[-capacity:], rows[-capacity:]
        k, at = len(stamps), self._next
        head = min(k, capacity - at)
        for base in (0, capacity):
            self._stamps[base + at : base + at + head] = stamps[:head]
            self._rows[base + at : base + at + head] = rows[:head]
            if head < k:
                self._stamps[base : base + k - head] = stamps[head:]
                self._rows[base : base + k - head] = rows[head:]
        self._next = (at + k) % capacity
        self._count = min(self._count + k, capacity)
        if k:
            self._newest_ns = int(stamps[-1])
