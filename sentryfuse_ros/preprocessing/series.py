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
from functools import lru_cache

import numpy as np

from ..nanoseconds import NS_PER_S
from .spec import ModalitySpec

DEFAULT_MAX_GAP_S = 0.5
REST = 1e-6  # in the unit of the rows; too small to matter, and not 0


def rows_since_gap(row_stamp_ns: np.ndarray, start_ns: int, end_ns: int, max_gap_s: float) -> slice:
    """Rows with start < stamp <= end after the last silence longer than ``max_gap_s``. Stamps must be sorted."""
    first, last = row_stamp_ns.searchsorted((start_ns, end_ns), side="right").tolist()
    return slice(_after_gap(row_stamp_ns, first, last, max_gap_s), last)


def _after_gap(row_stamp_ns: np.ndarray, first: int, last: int, max_gap_s: float) -> int:
    """The first of the rows ``first`` to ``last`` - 1 after the last silence among them."""
    used = row_stamp_ns[first:last]
    gaps = np.flatnonzero(used[1:] - used[:-1] > int(max_gap_s * NS_PER_S))  # an int, or all stamps would be made floats
    return first + int(gaps[-1]) + 1 if len(gaps) else first


@lru_cache(maxsize=32)
def _edges_ns(cells: int, window_ns: int) -> np.ndarray:
    """From the beginning of a window to the edges of its cells [ns], int64 (cells + 1,)."""
    edges_ns = np.arange(cells + 1) * window_ns // cells
    edges_ns.setflags(write=False)
    return edges_ns


def model_input(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec) -> np.ndarray:
    """Rows (k, C) at stamps (k,) [ns], sorted -> (T, C) float32 normalised; cell T-1 ends at ``end_ns``.

    Rows that fall into one cell are averaged, which also prevents aliasing of a fast sensor. Empty cells between two rows are
    interpolated; cells before the first row and after the last one stay zero.
    """
    cells, window_ns = spec.shape[0], round(spec.window_s * NS_PER_S)
    max_gap_s = spec.options.get("max_gap_s", DEFAULT_MAX_GAP_S)
    # Cell c covers (c, c+1] cell lengths after the start. Integers keep a stamp on an edge from falling to the wrong side.
    upto = row_stamp_ns.searchsorted(_edges_ns(cells, window_ns) + (int(end_ns) - window_ns), side="right")
    counts = upto[1:] - upto[:-1]
    if counts.all() and max_gap_s * cells >= 2 * spec.window_s:  # rows of cells beside each other are not so far apart
        values = _means(rows, upto[:-1], counts, int(upto[-1]))
        out = values.astype(np.float32)
        seen = out
    else:
        out = np.zeros(spec.shape, np.float32)
        begin, stop = int(upto[0]), int(upto[-1])
        begin = _after_gap(row_stamp_ns, begin, stop, max_gap_s)
        if stop <= begin:
            return out
        np.maximum(upto, begin, out=upto)
        counts = upto[1:] - upto[:-1]
        filled = np.flatnonzero(counts)
        first, last = int(filled[0]), int(filled[-1])
        values = _means(rows, upto[filled], counts[filled], stop)
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
    if not seen[:, 0].all():  # otherwise no cell is zero in every channel
        seen[~seen.any(axis=1)] = REST
    _normalise(seen, spec)
    return out


def _means(rows: np.ndarray, begins: np.ndarray, counts: np.ndarray, stop: int) -> np.ndarray:
    """Means (n, C) in float64 of the rows in n cells on end, which begin at ``begins``; the last one ends before row ``stop``."""
    return np.asarray(np.add.reduceat(rows[:stop].astype(np.float64, copy=False), begins, axis=0) / counts[:, None])


def _normalise(cells: np.ndarray, spec: ModalitySpec) -> None:
    """Apply mean and std to cells (n, C) with data, in place."""
    if spec.mean:
        cells -= spec.channel_mean
    if spec.std:
        cells /= spec.channel_std


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
