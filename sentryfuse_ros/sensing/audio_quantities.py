"""Quantities of sound, of its mel bands: level, spectrum, how it fluctuates and repeats, and whether its upper half mirrors its
lower."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..preprocessing import ModalitySpec
from ..preprocessing.audio import band_edges_hz
from .quantities import LOG, Quantities, log, mean_of, median

_SPECTRUM, _CHANGE = 20, 10  # groups of neighbouring bands that are told apart
_APART = 3  # frames that are nearer than this overlap, or belong to the same sound
_FINE = 1e-3


def audio_quantities(spec: ModalitySpec, part: np.ndarray) -> Quantities:
    """Of log-mel frames (k, n_mels)."""
    x = part.astype(np.float64)
    coarse, fine, fold, upper, names = _plan(spec)
    mean = x.mean(axis=0)
    bend = np.abs(mean[2:] - 2 * mean[1:-1] + mean[:-2]) if len(mean) > 2 else np.zeros(1)
    third = max(len(mean) // 3, 1)
    folded = np.log(np.exp(x) @ fold + 1e-12)
    a, b = folded - folded.mean(axis=0), x[:, upper] - mean[upper]
    alike = (a * b).mean(axis=0) / (np.sqrt((a * a).mean(axis=0) * (b * b).mean(axis=0)) + 1e-6)
    values = np.concatenate(
        (
            mean @ fine,
            log(x.std(axis=0) @ coarse),
            log(mean_of(np.abs(x[1:] - x[:-1])) @ coarse),
            [
                mean.mean(),
                float(log(bend.mean())),
                float(log(bend[-max(len(bend) // 4, 1) :].mean())),
                mean[:third].mean() - mean[-third:].mean(),
                alike.mean() if alike.size else 0.0,
                (folded.mean(axis=0) - mean[upper]).std() if alike.size else 0.0,
                _novelty(x),
            ],
        )
    )
    return dict(zip(names, values.tolist(), strict=True))


def _novelty(x: np.ndarray) -> float:
    """Logarithm of how far frames (k, n_mels) are from the one that is most like them, over how far they are from the others.

    A buffer that is sent again has a frame that is equal to each of its frames.
    """
    if len(x) <= 2 * _APART:
        return 0.0
    square = (x * x).sum(axis=1)
    distance = np.sqrt(np.maximum(square[:, None] + square - 2 * x @ x.T, 0.0))
    apart, pairs = _apart(len(x))
    nearest = np.where(apart, distance, np.inf).min(axis=1)
    typical = (distance * apart).sum() / pairs
    return float(log((median(nearest) + _FINE) / (typical + _FINE)))


@lru_cache(maxsize=16)
def _apart(count: int) -> tuple[np.ndarray, int]:
    """Which pairs of ``count`` frames are far enough apart, (count, count), and how many."""
    place = np.arange(count)
    apart = np.abs(place[:, None] - place) >= _APART
    return apart, int(apart.sum())


@lru_cache(maxsize=16)
def _plan_of(bands: int, edges: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    edge = np.asarray(edges)
    low, high = edge[:-2], edge[2:]
    middle = edge[-1] / 2

    def groups(count: int) -> np.ndarray:
        """(bands, groups): the mean of each group of neighbours."""
        of = np.arange(bands) * min(count, bands) // bands
        member = (of[:, None] == np.arange(min(count, bands))).astype(np.float64)
        return member / member.sum(axis=0)

    upper = np.flatnonzero(low >= middle)
    # For each upper band, the lower bands that cover the same frequencies as counted down from the highest one.
    cover = np.clip(
        np.minimum(high[:, None], edge[-1] - low[upper]) - np.maximum(low[:, None], edge[-1] - high[upper]), 0.0, None
    )
    fold = cover / np.maximum(high - low, 1e-9)[:, None]
    fine, coarse = groups(_SPECTRUM), groups(_CHANGE)

    def span(group: np.ndarray) -> str:
        own = np.flatnonzero(group)
        return f"{low[own[0]]:.0f} to {high[own[-1]]:.0f} Hz"

    names = (
        *(f"{LOG}power at {span(group)}" for group in fine.T),
        *(f"{LOG}fluctuation at {span(group)}" for group in coarse.T),
        *(f"{LOG}change from frame to frame at {span(group)}" for group in coarse.T),
        f"{LOG}power of a band",
        f"{LOG}roughness of the spectrum",
        f"{LOG}roughness of the top of the spectrum",
        "fall of the spectrum",
        "likeness of the lower and the upper half of the spectrum",
        "deviation between the halves of the spectrum",
        f"{LOG}novelty of a frame",
    )
    return coarse, fine, fold, upper, names


def _plan(spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    return _plan_of(spec.shape[1], tuple(band_edges_hz(spec).tolist()))
