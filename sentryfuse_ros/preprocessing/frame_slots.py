"""Which frame of a camera or LiDAR stands in each slot of a window; `camera` explains the options."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from ..nanoseconds import NS_PER_S
from .series import DEFAULT_MAX_GAP_S
from .spec import ModalitySpec

DEFAULT_MAX_REPEAT_S = 0.25


def slot_rows(row_stamp_ns: np.ndarray, end_ns: int, spec: ModalitySpec) -> list[int]:
    """For each of the K slots of a window the index of its row, or -1 where the slot is empty. Stamps must be sorted.

    Slot k ends at end - window + (k + 1) window / K and holds the newest row that is not later. Rows before a silence are not
    used.
    """
    slots, window_ns = spec.shape[0], round(spec.window_s * NS_PER_S)
    slot_ns, gap_ns = round(spec.window_s * NS_PER_S / slots), spec.options.get("max_gap_s", DEFAULT_MAX_GAP_S) * NS_PER_S
    # A frame is repeated for at least the length of a slot, so that a camera slower than the slots leaves no holes.
    max_repeat_ns = max(spec.options.get("max_repeat_s", DEFAULT_MAX_REPEAT_S), spec.window_s / slots) * NS_PER_S
    # A window has few frames, for which Python is faster than numpy.
    begin, stop = bisect_right(row_stamp_ns, int(end_ns) - window_ns), bisect_right(row_stamp_ns, int(end_ns))
    stamps = row_stamp_ns[begin:stop].tolist()
    after_gap = next((i for i in range(len(stamps) - 1, 0, -1) if stamps[i] - stamps[i - 1] > gap_ns), 0)
    rows = []
    for slot_end_ns in range(int(end_ns) - (slots - 1) * slot_ns, int(end_ns) + 1, slot_ns):
        newest = bisect_right(stamps, slot_end_ns) - 1
        here = newest >= after_gap and slot_end_ns - stamps[newest] <= max_repeat_ns
        rows.append(begin + newest if here else -1)
    return rows


def filled_slots(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec) -> tuple[list[int], np.ndarray]:
    """The slots of a window that have a frame, n of them, and their frames (n, C, H, W) float32, copied."""
    found = slot_rows(row_stamp_ns, end_ns, spec)
    filled = [slot for slot, row in enumerate(found) if row >= 0]
    return filled, rows[[found[slot] for slot in filled]].astype(np.float32, copy=False)


def window_of_slots(filled: list[int], frames: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    """The window (K, C, H, W) float32 with frames (n, C, H, W) in n of its slots and zeros in the others. Where none is empty, it
    is ``frames`` itself."""
    if len(filled) == spec.shape[0]:
        return frames
    out = np.zeros(spec.shape, np.float32)
    out[filled] = frames
    return out
