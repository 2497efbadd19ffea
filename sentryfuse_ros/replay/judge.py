"""Judge a run against the promises: did the mask clear and return in time, was there a gap in the predictions?"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .faults import Fault
from .schedule import Truth


@dataclass
class PredictionRow:
    """One FusedPrediction as collected. Times in seconds since the recording began, `wall_s` on the steady clock."""

    t_s: float
    wall_s: float
    valid: bool
    reason: str
    class_name: str
    confidence: float
    mask: tuple[bool, ...]
    ratio: float
    inference_ms: float
    latency_ms: float
    overhead_ms: float
    sequence: int


@dataclass
class StatusRow:
    """All sensors' states at one tick: sensor -> (state name, rate_hz, reason)."""

    t_s: float
    states: dict[str, tuple[str, float, str]]


@dataclass
class Limits:
    """What was promised for this run."""

    fuse_period_s: float
    timeout_s: Mapping[str, float]
    good_samples: Mapping[str, int]
    frozen_samples: Mapping[str, int]
    invalid_samples: Mapping[str, int]
    period_s: Mapping[str, float]
    max_latency_s: Mapping[str, float]
    overhead_ms: float = 10.0


@dataclass
class FaultVerdict:
    """How one fault was noticed and left. Seconds; None where it could not be seen, `note` says why."""

    sensor: str
    kind: str
    from_s: float
    to_s: float
    mask_clear_s: float | None = None
    clear_limit_s: float | None = None
    mask_return_s: float | None = None
    return_limit_s: float | None = None
    seen_as: list[str] = field(default_factory=list)
    kept: bool = True
    note: str = ""


def judge_fault(fault: Fault, statuses: Sequence[StatusRow], truth: Truth, limits: Limits, end_s: float) -> FaultVerdict:
    """One fault against the timing promises.

    mask_clear_s counts from the fault's begin, mask_return_s from the good_samples-th sound message after its end
    (before that there is nothing to return on).
    """
    verdict = FaultVerdict(fault.sensor, fault.kind, fault.from_s, fault.to_s)
    name, tick_s = fault.sensor, limits.fuse_period_s
    times = [row.t_s for row in statuses]
    ok = [row.states.get(name, ("NEVER_SEEN", 0.0, ""))[0] == "OK" for row in statuses]
    sound = truth.sound_s.get(name, [])
    if not truth.delivered_s.get(name):
        verdict.note = "the recording has no such sensor"
        return verdict
    first = bisect.bisect_left(times, fault.from_s)
    verdict.seen_as = list(
        dict.fromkeys(
            row.states[name][0] for row in statuses[first:] if row.t_s < fault.to_s and row.states.get(name, ("OK",))[0] != "OK"
        )
    )
    timeout_s, period_s = limits.timeout_s[name], limits.period_s[name]
    worst_s = {
        "off": timeout_s,
        "freeze": max(timeout_s, (limits.frozen_samples[name] + 1) * period_s),
        "garbage": max(timeout_s, (limits.invalid_samples[name] + 1) * period_s),
        "delay": timeout_s,
    }.get(fault.kind)
    cleared = next((i for i in range(first, len(times)) if not ok[i] and times[i] < fault.to_s), None)
    if first >= len(times) or (first and not ok[first - 1]):
        verdict.mask_clear_s, verdict.note = 0.0, "already not live when the fault began"
    elif cleared is not None:
        verdict.mask_clear_s = round(times[cleared] - fault.from_s, 3)
    elif fault.kind == "delay" and fault.by_s <= limits.max_latency_s[name] and fault.by_s < timeout_s:
        verdict.note = "a delay this short is within max_latency_s"
        worst_s = None
    elif fault.kind in ("slow", "intermittent"):
        verdict.note = "messages kept coming within the timeout"
    if worst_s is not None:
        # A tick comes up to 0.35 periods late (it waits for a sample), so one and a half periods cover it.
        verdict.clear_limit_s = round(worst_s + 1.5 * tick_s, 3)
        if verdict.mask_clear_s is None:
            verdict.kept, verdict.note = False, verdict.note or "the mask never cleared"
        elif verdict.mask_clear_s > verdict.clear_limit_s:
            verdict.kept = False
    back_at = bisect.bisect_left(sound, fault.to_s)
    needed = limits.good_samples[name]
    if verdict.mask_clear_s is None:
        return verdict
    if back_at + needed > len(sound):
        verdict.note = (verdict.note + "; " if verdict.note else "") + "the recording ends before it could return"
        return verdict
    ready_s = sound[back_at + needed - 1]
    verdict.return_limit_s = round(1.5 * tick_s + (timeout_s if fault.kind in ("slow", "intermittent", "delay") else 0.0), 3)
    returned = next((t for t, good in zip(times, ok, strict=True) if t >= fault.to_s and good), None)
    if returned is None:
        # A sensor that falls silent again right away never shows as OK at a tick: nothing was broken by that.
        gap_after = sound[back_at + needed] - ready_s if back_at + needed < len(sound) else end_s - ready_s
        verdict.kept = verdict.kept and gap_after > timeout_s
        verdict.note = (verdict.note + "; " if verdict.note else "") + "it did not return"
        return verdict
    verdict.mask_return_s = round(max(0.0, returned - ready_s), 3)
    if verdict.mask_return_s > verdict.return_limit_s:
        verdict.kept = False
    return verdict


def percentile(values: Sequence[float], q: float) -> float | None:
    return round(float(np.percentile(np.asarray(values), q)), 3) if len(values) else None


def summarise(
    predictions: Sequence[PredictionRow],
    statuses: Sequence[StatusRow],
    faults: Sequence[Fault],
    truth: Truth,
    limits: Limits,
    end_s: float,
) -> dict[str, Any]:
    """The run's figures and verdicts, ready for JSON."""
    valid = [p for p in predictions if p.valid]
    wall = np.array([p.wall_s for p in predictions])
    gaps = np.diff(wall) if len(wall) > 1 else np.zeros(0)
    verdicts = [judge_fault(f, statuses, truth, limits, end_s) for f in faults]
    names = sorted({name for row in statuses for name in row.states})
    never = [n for n in names if all(r.states.get(n, ("NEVER_SEEN",))[0] == "NEVER_SEEN" for r in statuses)]
    sequence = [p.sequence for p in predictions]
    missed = (sequence[-1] - sequence[0] + 1 - len(sequence)) if sequence else 0
    late = [p.overhead_ms for p in valid]
    max_gap_s = round(float(gaps.max()), 3) if len(gaps) else None
    pairs = zip(predictions, predictions[1:], strict=False)
    changed = [b for a, b in pairs if a.mask != b.mask or a.ratio != b.ratio]
    not_finite = sum(not np.isfinite([p.confidence, p.latency_ms, p.inference_ms]).all() for p in predictions)
    broken = []
    if not predictions:
        broken.append("no predictions came")
    if max_gap_s is not None and max_gap_s > 2 * limits.fuse_period_s:
        broken.append(f"a gap of {max_gap_s} s between predictions, promised {2 * limits.fuse_period_s:g} s")
    late_p99 = percentile(late, 99)
    if late_p99 is not None and late_p99 > limits.overhead_ms:
        broken.append(f"overhead_ms_p99 {late_p99}, promised {limits.overhead_ms:g}")
    if not_finite:
        broken.append(f"{not_finite} predictions with numbers that are not finite")
    broken += [
        f"{v.sensor} {v.kind} at {v.from_s:g} s: clear {v.mask_clear_s} (limit {v.clear_limit_s}), return "
        f"{v.mask_return_s} (limit {v.return_limit_s}){', ' + v.note if v.note else ''}"
        for v in verdicts
        if not v.kept
    ]
    return {
        "predictions": len(predictions),
        "valid_predictions": len(valid),
        "missed_sequences": int(missed),
        "duration_s": round(end_s, 3),
        "rate_hz": round(len(predictions) / float(wall[-1] - wall[0]), 2) if len(wall) > 1 else None,
        "max_gap_s": max_gap_s,
        "mask_clear_s": [v.mask_clear_s for v in verdicts],
        "mask_return_s": [v.mask_return_s for v in verdicts],
        "faults": [asdict(v) for v in verdicts],
        "ratios_seen": sorted({round(p.ratio, 4) for p in predictions}),
        "mask_or_ratio_changes": len(changed),
        "inference_at_change_ms_p99": percentile([p.inference_ms for p in changed if p.valid], 99),
        "overhead_ms_p50": percentile(late, 50),
        "overhead_ms_p99": late_p99,
        "latency_ms_p50": percentile([p.latency_ms for p in valid], 50),
        "latency_ms_p99": percentile([p.latency_ms for p in valid], 99),
        "inference_ms_p50": percentile([p.inference_ms for p in valid], 50),
        "inference_ms_p99": percentile([p.inference_ms for p in valid], 99),
        "never_seen": never,
        "delivered": {name: len(times) for name, times in truth.delivered_s.items()},
        "promises_kept": not broken,
        "promises_broken": broken,
    }
