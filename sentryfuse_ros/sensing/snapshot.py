"""The windows of all live sensors at one moment. A silent sensor is left out instead of waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ParameterError
from .window_buffer import WindowBuffer

Window = tuple[np.ndarray, np.ndarray]  # stamps int64 (k,) [ns], rows (k, ...)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Windows of the live sensors, which all end at ``end_ns``."""

    end_ns: int
    mask: np.ndarray  # bool (M,): live, and with at least one row in the window
    windows: dict[str, Window]  # by the name of the buffer; only where there are rows
    newest_ns: int  # stamp of the newest row in any window, 0 when there is none


def take_snapshot(buffers: Mapping[str, WindowBuffer | None], mask: Sequence[bool], end_ns: int) -> Snapshot:
    """The window that ends at ``end_ns`` of every buffer whose mask bit is set.

    buffers: in mask order, None for a model input that no sensor serves. mask: bool (M,). The rows are views into the
    buffers: use them before half a window of further rows is appended. Raises ParameterError when the lengths differ.
    """
    if len(mask) != len(buffers):
        raise ParameterError("take_snapshot mask", f"{len(mask)} bits", f"{len(buffers)}", "pass one bit for each buffer")
    windows: dict[str, Window] = {}
    newest_ns, used = 0, np.zeros(len(buffers), bool)
    for slot, (name, buffer) in enumerate(buffers.items()):
        if not mask[slot] or buffer is None:
            continue
        stamps, rows = buffer.window(end_ns)
        if len(stamps):
            windows[name] = stamps, rows
            used[slot] = True
            newest_ns = max(newest_ns, int(stamps[-1]))
    return Snapshot(int(end_ns), used, windows, newest_ns)
