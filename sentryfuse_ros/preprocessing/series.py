"""Rows of numbers at any rate -> a regular time grid: the model input of kind `series` and, with six channels, of kind `imu`.

Options (all optional):
  max_gap_s  a silence longer than this splits the window [s]. Only rows after the last such gap are used, so that data from
             before a dropout, or from an earlier recording, is never blended into the window. Default 0.5.
Grid cells without data are exactly zero in every channel, also after normalisation; the tokeniser takes them as empty. Where
the data are zero, as the wheel speeds of a robot at rest, the cells hold `REST` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..nanoseconds import NS_PER_S
from .spec import ModalitySpec

DEFAULT_MAX_GAP_S = 0.5
REST = 1e-6  # in the unit of the rows; too small to matter, and not 0


def rows_since_gap(row_stamp_ns: np.ndarray, start_ns: int, end_ns: int, max_gap_s: float) -> slice:
    """Rows with start < stamp <= end after the last silence longer than ``max_gap_s``. Stamps must be sorted."""
    first, last = row_stamp_ns.searchsorted((start_ns, end_ns), side="right")
    used = row_stamp_ns[first:last]
    gaps = np.flatnonzero(used[1:] - used[:-1] > max_gap_s * NS_PER_S)
    return slice(int(first + gaps[-1] + 1) if len(gaps) else int(first), int(last))


def model_input(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec) -> np.ndarray:
    """Rows (k, C) at stamps (k,) [ns], sorted -> (T, C) float32 normalised; cell T-1 ends at ``end_ns``.

    Rows that fall into one cell are averaged, which also prevents aliasing of a fast sensor. Empty cells between two rows are
    interpolated; cells before the first row and after the last one stay zero.
    """
    cells, channels = spec.shape
    out = np.zeros((cells, channels), np.float32)
    start_ns = int(end_ns) - round(spec.window_s * NS_PER_S)
    used = rows_since_gap(row_stamp_ns, start_ns, int(end_ns), spec.options.get("max_gap_s", DEFAULT_MAX_GAP_S))
    if used.stop <= used.start:
        return out
    # Cell c covers (c, c+1] cell lengths after the start. Integers keep a stamp on an edge from falling to the wrong side.
    cell = ((row_stamp_ns[used] - start_ns) * cells - 1) // round(spec.window_s * NS_PER_S)
    edges = np.concatenate(([0], np.flatnonzero(cell[1:] != cell[:-1]) + 1, [len(cell)]))  # np.diff takes three times as long
    begins, counts = edges[:-1], (edges[1:] - edges[:-1])[:, None]
    values = np.add.reduceat(rows[used].astype(np.float64, copy=False), begins, axis=0) / counts
    filled, first, last = cell[begins], int(cell[0]), int(cell[-1])
    if len(filled) == last - first + 1:
        out[first : last + 1] = values
    else:
        # Interpolate between the filled cells before and after each; one look-up serves all channels.
        grid = np.arange(first, last + 1)
        before = np.searchsorted(filled, grid, side="right") - 1
        after = np.minimum(before + 1, len(filled) - 1)
        share = (grid - filled[before]) / np.maximum(filled[after] - filled[before], 1)
        out[first : last + 1] = values[before] + share[:, None] * (values[after] - values[before])
        out[filled] = values  # exactly, even if a neighbouring value is not finite
    seen = out[first : last + 1]
    seen[~seen.any(axis=1)] = REST
    _normalise(seen, spec)
    return out


def _normalise(cells: np.ndarray, spec: ModalitySpec) -> None:
    """Apply mean and std to cells (n, C) with data, in place."""
    if spec.mean:
        cells -= np.asarray(spec.mean, np.float32)
    if spec.std:
        cells /= np.asarray(spec.std, np.float32)


def joined_input(windows: Sequence[tuple[np.ndarray, np.ndarray]], end_ns: int, spec: ModalitySpec) -> np.ndarray:
    """Windows of several sensors, whose columns stand beside each other -> (T, C) float32 as of `model_input`.

    windows: stamps (k,) [ns] and rows (k, C_i) of each sensor, with the C_i adding up to C. Every sensor is put on the grid by
    itself, at its own rate. A cell that one of them leaves empty is empty.
    """
    out, column = np.zeros(spec.shape, np.float32), 0
    filled = np.ones((spec.shape[0], 1), bool)
    for stamps, rows in windows:
        own = slice(column, column + rows.shape[1])
        # Normalised at the end only: a topic that sends its mean would look empty.
        out[:, own] = model_input(stamps, rows, end_ns, replace(spec, shape=(spec.shape[0], rows.shape[1]), mean=(), std=()))
        filled &= out[:, own].any(axis=1, keepdims=True)
        column = own.stop
    _normalise(out, spec)
    return np.where(filled, out, np.float32(0))


def valid_cells(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Validity mask (n, T, 1) of windows (n, T, C): steps that are not zero in every channel."""
    return np.asarray(x.any(axis=2, keepdims=True))
