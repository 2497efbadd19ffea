"""One labelled recording: what each sensor delivered, as the rows that model inputs are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Group = int | str  # a subject, a robot, a fold, or the name of a split


@dataclass(frozen=True)
class Stream:
    """Rows of one sensor: stamp_ns (k,) int64 ascending, rows (k, ...) as `preprocessing.model_input` takes them."""

    stamp_ns: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Recording:
    """``label`` is the class id; ``group`` is what the set is split by (a subject, a robot, a day)."""

    name: str
    label: int
    group: int
    streams: dict[str, Stream]
