"""What goes into one run of the network, and what comes out of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ParameterError
from ..model.subnetwork import Subnetwork
from ..preprocessing import ModalitySpec
from .backend import FusedTokens

if TYPE_CHECKING:
    from ..streaming.streamed_input import StreamUse  # with OpenCV, which a model without a camera does not need

LARGEST_INPUT = 1e3  # Normalised inputs lie within a few tens. Larger values come from a broken sensor.


@dataclass(frozen=True, slots=True)
class Inference:
    """One prediction and what it cost.

    probabilities: (C,) float32, calibrated, they sum to 1. attention_share: (M,) float32, the share of the evidence drawn
    from each model input, 0 for one that was not used; the shares sum to 1. used: (M,) bool, the live sensors that the plan
    in force uses. Without a live sensor the probabilities are uniform, class_id is -1, confidence 0, and all shares are 0.
    """

    probabilities: np.ndarray
    class_id: int
    class_name: str
    confidence: float
    attention_share: np.ndarray
    used: np.ndarray
    ratio: float  # the level in force
    # Of the whole forward pass with tokenisers, on average over the predictions that share a picture, and of a stream what was
    # encoded anew; a multiply-add counts as 2.
    flops: int
    params: int  # parameters that this plan reads
    duration_s: float
    part: Subnetwork | None = None  # what was run; None where nothing was
    tokens: FusedTokens | None = None  # where the engine was loaded to give them
    streams: Mapping[str, StreamUse] = field(default_factory=dict)  # by model input: what was done with its newest picture


def no_inference(classes: Sequence[str], inputs: int, level: float, started_s: float) -> Inference:
    """What is known where nothing could be run: every class is as likely as any other. ``started_s``: on `time.perf_counter`."""
    return Inference(
        np.full(len(classes), 1.0 / len(classes), np.float32),
        -1,
        "",
        0.0,
        np.zeros(inputs, np.float32),
        np.zeros(inputs, bool),
        level,
        0,
        0,
        time.perf_counter() - started_s,
    )


def checked_input(spec: ModalitySpec, value: np.ndarray | None) -> np.ndarray:
    """The window that a model input is given. Raises ParameterError where there is none, or where it has another shape."""
    if value is None or value.shape != spec.shape:
        raise ParameterError(
            f"model input {spec.name!r}",
            None if value is None else value.shape,
            spec.shape,
            "pass an input for every modality that the plan uses",
        )
    return value


def sanitised_input(value: np.ndarray) -> np.ndarray:
    """Contiguous float32 without NaN, infinities and absurd values: none of them may spread."""
    values = np.ascontiguousarray(value, np.float32)
    flat = values.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if float(np.dot(flat, flat)) <= LARGEST_INPUT**2:  # then every number is finite and within the limit: the usual case
            return values
        if -LARGEST_INPUT <= flat.min() and flat.max() <= LARGEST_INPUT:  # false for NaN
            return values
    return np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), -LARGEST_INPUT, LARGEST_INPUT)


def softmax(logits: Sequence[float], temperature: float) -> list[float]:
    """Finite logits (C,) -> probabilities (C,). For a few dozen classes, numbers are faster than arrays."""
    highest = max(logits)
    e = [math.exp((z - highest) / temperature) for z in logits]
    total = sum(e)
    return [value / total for value in e]
