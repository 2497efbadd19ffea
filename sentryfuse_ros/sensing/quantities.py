"""Quantities of the newest part of a model input, by which a sensor that lies can be told (docs/TRUST.md).

Every kind of sensor has a function ``(spec, part) -> Quantities`` in a file of its own, which `sensor_kinds` names. The robot and
the fitting of a trust table call the same functions, so both see the same numbers. They depend on what the model is given, and
not on its weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind

# Name -> value. Names say what it is and its unit. The values of names that begin with "log " are natural logarithms.
Quantities = dict[str, float]

LOG = "log "
NEWEST_SHARE = 0.5  # of a window of steps, the newest half is judged: a lie fills it in half of the window's time
LEAST_SHARE = 0.9  # of these steps must have data; with fewer the numbers are not those of whole windows
_TINY = 1e-6


def newest_part(spec: ModalitySpec, x: np.ndarray) -> np.ndarray | None:
    """The part of a window (`spec.shape`, normalised by the spec) that is judged, in the units of the rows.

    It is the newest frame (C, H, W), or those of the newest half of the steps that have data, (k, C). None where there is too
    little to judge.
    """
    kind = sensor_kind(spec.kind)
    if kind.made_of_frames:
        part = x[-1]
        if not part.any():
            return None
    else:
        newest = x[len(x) - max(round(len(x) * NEWEST_SHARE), 1) :]
        filled = newest.any(axis=1)
        if np.count_nonzero(filled) < LEAST_SHARE * len(newest):
            return None
        part = newest[filled]
    if not spec.mean and not spec.std:
        return part
    shape = (-1, 1, 1) if kind.made_of_frames else (-1,)
    mean = spec.channel_mean.reshape(shape)
    std = spec.channel_std.reshape(shape)
    values = part * std + mean
    if not kind.made_of_frames:
        return values
    return np.where(part.any(axis=0), values, np.float32(0))  # empty cells are exactly zero, normalised or not


def judged_span_s(spec: ModalitySpec) -> float:
    """How far before the newest row the judged part reaches [s]: 0 for a frame, which is one row."""
    return 0.0 if sensor_kind(spec.kind).made_of_frames else spec.window_s * NEWEST_SHARE


def quantities(spec: ModalitySpec, x: np.ndarray) -> Quantities | None:
    """The quantities of a window (`spec.shape`) as the model is given it; None where there is too little to judge, or where the
    kind has no quantities."""
    function = sensor_kind(spec.kind).quantity_function()
    part = None if function is None else newest_part(spec, x)
    return None if part is None or function is None else function(spec, part)


def quantity_names(spec: ModalitySpec) -> tuple[str, ...]:
    """The names of the quantities of a model input; () where its kind has none."""
    anything = np.linspace(0.1, 1.0, math.prod(spec.shape), dtype=np.float32).reshape(spec.shape)
    return tuple(quantities(replace(spec, mean=(), std=()), anything) or ())


def log(values: np.ndarray | float) -> np.ndarray:
    """Natural logarithm of numbers that are not negative."""
    return np.asarray(np.log(np.maximum(values, _TINY)))


def mean_of(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis, 0 where it is empty: a short or narrow input has no third step, or no ninth column."""
    return np.asarray(values.mean(axis=0) if len(values) else np.zeros(values.shape[1:], values.dtype))


def median(values: np.ndarray) -> Any:
    """The same number as `numpy.median` of an array that is not empty and without NaN, in its type. Those of numpy, this and
    `quantiles`, bring in `numpy.ma`, 2 MB of memory that a robot needs for nothing else."""
    flat, half = values.reshape(-1), values.size // 2
    if values.size % 2:
        return np.partition(flat, half)[half]
    parted = np.partition(flat, (half - 1, half))
    return (parted[half - 1] + parted[half]) / 2


def quantiles(values: np.ndarray, shares: Sequence[float]) -> tuple[float, ...]:
    """`numpy.quantile` of numbers of which there is at least one and all are finite, for each of the shares."""
    places = [share * (values.size - 1) for share in shares]
    lower = [int(place) for place in places]
    upper = [min(low + 1, values.size - 1) for low in lower]
    parted = np.partition(values.reshape(-1), sorted({*lower, *upper}))
    ends = [(float(parted[low]), float(parted[high])) for low, high in zip(lower, upper)]
    return tuple(a + (b - a) * (place - low) for (a, b), place, low in zip(ends, places, lower))


def text_of(name: str, value: float) -> str:
    """A quantity in words, such as "acceleration magnitude [m/s^2] 1.0"."""
    return f"{name.removeprefix(LOG)} {number(name, value)}"


def number(name: str, value: float) -> str:
    """The value of a quantity, in its unit."""
    return f"{float(np.exp(min(value, 50.0))) if name.startswith(LOG) else value:.3g}"
