"""One labelled recording: what each sensor delivered, in the rows that the model inputs are cut from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stream:
    """Rows of one sensor: stamp_ns (k,) int64 ascending, rows (k, ...) as `modalities.inputs` takes them."""

    stamp_ns: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Recording:
    """``label`` is the class id; ``group`` (a subject, a robot, a day) is what splits are made by."""

    name: str
    label: int
    group: int
    streams: dict[str, Stream]
