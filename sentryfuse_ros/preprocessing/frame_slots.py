"""Which frame of a camera or LiDAR stands in each slot of a window; `camera` explains the options."""

from __future__ import annotations

import numpy as np

from ..nanoseconds import NS_PER_S
from .series import DEFAULT_MAX_GAP_S, rows_since_gap
from .spec import ModalitySpec

DEFAULT_MAX_REPEAT_S = 0.25


def slot_rows(row_stamp_ns: np.ndarray, end_ns: int, spec: ModalitySpec) -> np.ndarray:
    """For each of the K slots of a window the index of its row, or -1 where the slot is empty: (K,) int64.

    Slot k ends at end - window + (k + 1) window / K and holds the newest row that is not later.
    """
    slots = spec.shape[0]
    start_ns = int(end_ns) - round(spec.window_s * NS_PER_S)
    used = rows_since_gap(row_stamp_ns, start_ns, int(end_ns), spec.options.get("max_gap_s", DEFAULT_MAX_GAP_S))
    slot_end_ns = int(end_ns) - np.arange(slots - 1, -1, -1) * round(spec.window_s * NS_PER_S / slots)
    index = np.searchsorted(row_stamp_ns[used], slot_end_ns, side="right") - 1 + used.start
    held = np.maximum(index, used.start)
    if used.stop <= used.start:
        return np.full(slots, -1)
    # A frame is repeated for at least the length of a slot, so that a camera slower than the slots leaves no holes.
    max_repeat_ns = max(spec.options.get("max_repeat_s", DEFAULT_MAX_REPEAT_S), spec.window_s / slots) * NS_PER_S
    empty = (index < used.start) | (slot_end_ns - row_stamp_ns[held] > max_repeat_ns)
    return np.where(empty, -1, index)
