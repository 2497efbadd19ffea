"""Accuracy, calibration and cost of a model per mask and pruning ratio."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from ..datasets.recording import Recording
from ..engine import Engine
from ..model.fuse import SentryFuse
from ..pruning.slicing import choose_plan, slice_weights
from .calibration import expected_calibration_error
from .windows import stack, whole_window, window_at


def all_masks(modalities: int) -> list[tuple[bool, ...]]:
    """Every mask with at least one live sensor, the fullest first."""
    masks = [m for m in product((True, False), repeat=modalities) if any(m)]
    return sorted(masks, key=lambda m: -sum(m))


def mask_bits(mask: Sequence[bool]) -> str:
    """(True, False) -> "10", as the checkpoint writes masks."""
    return "".join("1" if m else "0" for m in mask)


def whole_windows(recordings: Sequence[Recording], specs: Sequence) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One window per recording (`windows.whole_window`): inputs (n, ...) per modality, labels (n,)."""
    return (stack([whole_window(r, specs) for r in recordings]), np.array([r.label for r in recordings]))


def live_windows(recordings: Sequence[Recording], specs: Sequence) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One window per recording as a robot has it at the last moment at which every sensor is live."""
    ends = [min(int(s.stamp_ns[-1]) for s in r.streams.values()) for r in recordings]
    return (stack([window_at(r, specs, end) for r, end in zip(recordings, ends)]),
            np.array([r.label for r in recordings]))


@torch.inference_mode()
def predict_logits(model: SentryFuse, inputs: Mapping[str, np.ndarray], masks: Sequence[Sequence[bool]],
                   levels: Sequence[float], batch: int = 64) -> dict[str, list[np.ndarray]]:
    """Inputs (n, ...) -> {mask bits: [logits (n, classes) per level]}."""
    model.eval()
    count = len(next(iter(inputs.values())))
    out = {}
    for mask in masks:
        weights = [slice_weights(model, choose_plan(model, mask, level)) for level in levels]
        parts: list[list[np.ndarray]] = [[] for _ in levels]
        for start in range(0, count, batch):
            chunk = {n: torch.from_numpy(x[start:start + batch]) for n, x in inputs.items()}
            tokens = model.tokens(chunk, mask)
            for part, w in zip(parts, weights):
                part.append(model.fuse(tokens, w).logits.numpy())
        out[mask_bits(mask)] = [np.concatenate(p) for p in parts]
    return out


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose largest logit is the label's."""
    return float((logits.argmax(1) == labels).mean())


def evaluate(engine: Engine, recordings: Sequence[Recording], latency_runs: int = 60) -> list[dict[str, Any]]:
    """One row per mask and level: accuracy and calibration on whole and on live windows, FLOPs, parameters, latency.

    ``accuracy``: one window per recording, each sensor's window ending at that sensor's last row.
    ``accuracy_live``: one window ending at the last moment at which all sensors still deliver.
    ``ece``, ``ece_live``: of the calibrated probabilities. ``latency_ms``: median of ``latency_runs`` windows at batch
    1 with warm plans, on this machine.
    """
    inputs, labels = whole_windows(recordings, engine.specs)
    live, _ = live_windows(recordings, engine.specs)
    masks = all_masks(len(engine.modalities))
    whole_logits = predict_logits(engine.model, inputs, masks, engine.ratio_levels)
    live_logits = predict_logits(engine.model, live, masks, engine.ratio_levels)
    rows = []
    for mask in masks:
        bits = mask_bits(mask)
        for i, level in enumerate(engine.ratio_levels):
            temperature = engine.info.get("temperatures", {}).get(bits, [1.0] * len(engine.ratio_levels))[i]
            ece, ece_live = (
                expected_calibration_error(torch.softmax(torch.from_numpy(z[bits][i]) / temperature, 1).numpy(), labels)
                for z in (whole_logits, live_logits))
            rows.append({
                "mask": bits, "live": [n for n, m in zip(engine.modalities, mask) if m], "ratio": level,
                "accuracy": round(accuracy(whole_logits[bits][i], labels), 4),
                "accuracy_live": round(accuracy(live_logits[bits][i], labels), 4),
                "ece": round(ece, 4), "ece_live": round(ece_live, 4),
            })
    return [{**row, **cost} for row, cost in zip(rows, _costs(engine, inputs, masks, latency_runs))]


def _costs(engine: Engine, inputs: Mapping[str, np.ndarray], masks: Sequence[Sequence[bool]],
           runs: int) -> list[dict[str, Any]]:
    """FLOPs, parameters and median latency of every (mask, level), in that order."""
    engine.warm(masks)
    plans = [(np.array(mask), level) for mask in masks for level in engine.ratio_levels]
    count = len(next(iter(inputs.values())))
    seconds, last, rng = np.empty((runs, len(plans))), [None] * len(plans), np.random.default_rng(0)
    # Round by round over all plans, each time in another order, so that neither a machine busy with other things for a
    # while nor a window that is cold in the cache falls on one plan alone.
    for k in range(runs):
        window = {n: x[k % count] for n, x in inputs.items()}
        for i in rng.permutation(len(plans)):
            last[i] = engine.infer(window, *plans[i])
            seconds[k, i] = last[i].duration_s
    return [{"flops": r.flops, "params": r.params, "latency_ms": round(1e3 * float(s), 3)}
            for r, s in zip(last, np.median(seconds, axis=0))]


def machine(threads: int) -> dict[str, Any]:
    """What the latencies were measured on."""
    return {"processor": platform.machine(), "system": platform.system(), "python": platform.python_version(),
            "torch": torch.__version__, "threads": threads}
