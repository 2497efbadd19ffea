"""The one rule by which a wanted pruning ratio becomes one of the levels a model has plans for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

TOLERANCE = 1e-6  # Ratios arrive as float32: a request this little above a level still means that level.


def level_index(ratio: float, levels: Sequence[float]) -> int:
    """Index of the smallest level that prunes at least ``ratio``, so that a budget is kept; the last beyond the highest.

    levels: pruning ratios in ascending order, at least one. ``ratio`` must not be NaN.
    """
    return min(bisect_left(levels, ratio - TOLERANCE), len(levels) - 1)


def level_for(ratio: float, levels: Sequence[float]) -> float:
    """The level itself, see `level_index`."""
    return levels[level_index(ratio, levels)]
