"""Judge a run against the promises: did the mask follow every fault in time, and did predictions keep coming?"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from .faults import InjectedFault
from .run_record import PredictionRow, RunRecord, StatusRow
from .schedule import DeliveryLog
from .scores import RunScores

# A tick comes up to 0.35 fuse periods late, because it waits for a sample; 1.5 periods cover that and the tick itself.
TICK_ALLOWANCE = 1.5  # fuse periods


@dataclass(frozen=True)
class SensorLimits:
    """The parameters of one sensor that decide how soon a fault must be noticed. ``period_s``: between its messages."""

    timeout_s: float
    good_samples: int
    frozen_samples: int
    invalid_samples: int
    period_s: float
    max_latency_s: float


@dataclass(frozen=True)
class Limits:
    """What is promised for a run; `overhead_ms` is the limit of the 99th percentile of the overhead."""

    fuse_period_s: float
    sensors: Mapping[str, SensorLimits]
    overhead_ms: float = 10.0


@dataclass(frozen=True)
class FaultVerdict:
    """How one fault was noticed and recovered from, in seconds.

    A time is None if it could not be observed; `note` says why. seen_as: the states that the sensor had meanwhile.
    """

    sensor: str
    kind: str
    from_s: float
    to_s: float
    mask_clear_s: float | None = None
    clear_limit_s: float | None = None
    mask_return_s: float | None = None
    return_limit_s: float | None = None
    seen_as: tuple[str, ...] = ()
    kept: bool = True
    note: str = ""


class _Step(NamedTuple):
    """One of the two halves of a verdict: clearing the mask, or returning to it."""

    seconds: float | None
    limit_s: float | None
    kept: bool
    note: str


def judge_fault(
    fault: InjectedFault, statuses: Sequence[StatusRow], delivered: DeliveryLog, limits: Limits, end_s: float
) -> FaultVerdict:
    """Compare one fault with the promises.

    mask_clear_s counts from the start of the fault; mask_return_s from the sound message after its end that completes the
    good_samples, because the sensor cannot return earlier.
    """
    name = fault.sensor
    if not delivered.all_s.get(name):
        return FaultVerdict(name, fault.kind, fault.from_s, fault.to_s, note="the recording has no such sensor")
    during = [row for row in statuses if fault.from_s <= row.t_s < fault.to_s and name in row.states]
    seen_as = tuple(dict.fromkeys(row.states[name].state for row in during if row.states[name].state != "OK"))
    times = [row.t_s for row in statuses]
    ok = [row.of(name).state == "OK" for row in statuses]
    cleared = _judge_clear(fault, times, ok, limits)
    returned = _Step(None, None, True, "")
    if cleared.seconds is not None:
        returned = _judge_return(fault, times, ok, delivered.sound_s.get(name, []), limits, end_s)
    return FaultVerdict(
        name,
        fault.kind,
        fault.from_s,
        fault.to_s,
        mask_clear_s=cleared.seconds,
        clear_limit_s=cleared.limit_s,
        mask_return_s=returned.seconds,
        return_limit_s=returned.limit_s,
        seen_as=seen_as,
        kept=cleared.kept and returned.kept,
        note="; ".join(note for note in (cleared.note, returned.note) if note),
    )


def _judge_clear(fault: InjectedFault, times: Sequence[float], ok: Sequence[bool], limits: Limits) -> _Step:
    """When the mask cleared after the start of a fault, and whether that was soon enough."""
    sensor = limits.sensors[fault.sensor]
    worst_s = {
        "off": sensor.timeout_s,
        "freeze": max(sensor.timeout_s, (sensor.frozen_samples + 1) * sensor.period_s),
        "garbage": max(sensor.timeout_s, (sensor.invalid_samples + 1) * sensor.period_s),
        "delay": sensor.timeout_s,
    }.get(fault.kind)
    first = bisect.bisect_left(times, fault.from_s)
    cleared = next((t for t, good in zip(times[first:], ok[first:]) if not good and t < fault.to_s), None)
    seconds, note = None, ""
    if first >= len(times) or (first and not ok[first - 1]):
        seconds, note = 0.0, "already not live when the fault began"
    elif cleared is not None:
        seconds = round(cleared - fault.from_s, 3)
    elif fault.kind == "delay" and fault.by_s <= sensor.max_latency_s and fault.by_s < sensor.timeout_s:
        note, worst_s = "a delay this short is within max_latency_s", None
    elif fault.kind == "corrupt":
        note = "single wrong bytes were within what the sensor may measure"
    elif fault.kind in ("slow", "intermittent", "burst"):
        note = "messages kept coming within the timeout"
    if worst_s is None:
        return _Step(seconds, None, True, note)
    limit_s = round(worst_s + TICK_ALLOWANCE * limits.fuse_period_s, 3)
    if seconds is None:
        return _Step(None, limit_s, False, note or "the mask never cleared")
    return _Step(seconds, limit_s, bool(seconds <= limit_s), note)


def _judge_return(
    fault: InjectedFault, times: Sequence[float], ok: Sequence[bool], sound_s: Sequence[float], limits: Limits, end_s: float
) -> _Step:
    """When the mask bit returned after the end of a fault, and whether that was soon enough."""
    sensor = limits.sensors[fault.sensor]
    enough = bisect.bisect_left(sound_s, fault.to_s) + sensor.good_samples  # index behind the message that completes them
    if enough > len(sound_s):
        return _Step(None, None, True, "the recording ends before it could return")
    ready_s = sound_s[enough - 1]
    patience_s = sensor.timeout_s if fault.kind in ("slow", "intermittent", "delay", "burst") else 0.0
    limit_s = round(TICK_ALLOWANCE * limits.fuse_period_s + patience_s, 3)
    returned = next((t for t, good in zip(times, ok, strict=True) if t >= fault.to_s and good), None)
    if returned is None:
        # A sensor that falls silent again at once is never OK at a tick; no promise is broken by that.
        silent_s = sound_s[enough] - ready_s if enough < len(sound_s) else end_s - ready_s
        return _Step(None, limit_s, bool(silent_s > sensor.timeout_s), "it did not return")
    seconds = round(max(0.0, returned - ready_s), 3)
    return _Step(seconds, limit_s, bool(seconds <= limit_s), "")


@dataclass(frozen=True)
class RunSummary:
    """The figures of a run, the verdict on every fault, and the promises that were broken, in words."""

    predictions: int
    valid_predictions: int
    missed_sequences: int
    duration_s: float
    rate_hz: float | None
    max_gap_s: float | None
    faults: tuple[FaultVerdict, ...]
    ratios_seen: tuple[float, ...]
    mask_or_ratio_changes: int
    inference_at_change_ms_p99: float | None
    overhead_ms_p50: float | None
    overhead_ms_p99: float | None
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    inference_ms_p50: float | None
    inference_ms_p99: float | None
    never_seen: tuple[str, ...]
    delivered: Mapping[str, int]
    promises_broken: tuple[str, ...]

    @property
    def promises_kept(self) -> bool:
        return not self.promises_broken

    @property
    def mask_clear_s(self) -> list[float | None]:
        return [verdict.mask_clear_s for verdict in self.faults]

    @property
    def mask_return_s(self) -> list[float | None]:
        return [verdict.mask_return_s for verdict in self.faults]

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        values = asdict(self)
        broken = values.pop("promises_broken")
        return {
            **values,
            "mask_clear_s": self.mask_clear_s,
            "mask_return_s": self.mask_return_s,
            "promises_kept": self.promises_kept,
            "promises_broken": broken,
        }


@dataclass(frozen=True)
class RunResult:
    """A run that was played and judged. bag: as it was given. sensors: sensor name -> topic."""

    record: RunRecord
    summary: RunSummary
    scores: RunScores
    bag: str = ""
    sensors: Mapping[str, str] | None = None
    fuse_node_exit_status: int = 0

    def to_dict(self) -> dict[str, object]:
        """What ``--json`` writes: figures, verdicts and scores, without the record."""
        return {
            **self.summary.to_dict(),
            "truth": self.scores.to_dict(),
            "fuse_node_exit_status": self.fuse_node_exit_status,
            "bag": self.bag,
            "sensors": dict(self.sensors or {}),
        }


def percentile(values: Sequence[float], q: float) -> float | None:
    """The q-th percentile to three places; None of nothing."""
    return round(float(np.percentile(np.asarray(values), q)), 3) if len(values) else None


def summarise(
    predictions: Sequence[PredictionRow],
    statuses: Sequence[StatusRow],
    faults: Sequence[InjectedFault],
    delivered: DeliveryLog,
    limits: Limits,
    end_s: float,
) -> RunSummary:
    """The figures of a run that was played for ``end_s`` seconds, and what it did to the promises."""
    valid = [p for p in predictions if p.valid]
    changed = [b for a, b in zip(predictions, predictions[1:]) if a.mask != b.mask or a.ratio != b.ratio]
    verdicts = tuple(judge_fault(fault, statuses, delivered, limits, end_s) for fault in faults)
    wall_s = np.array([p.wall_s for p in predictions])
    max_gap_s = round(float(np.diff(wall_s).max()), 3) if len(wall_s) > 1 else None
    overhead_ms = [p.overhead_ms for p in valid]
    names = sorted({name for row in statuses for name in row.states})
    sequence = [p.sequence for p in predictions]
    return RunSummary(
        predictions=len(predictions),
        valid_predictions=len(valid),
        missed_sequences=int(sequence[-1] - sequence[0] + 1 - len(sequence)) if sequence else 0,
        duration_s=round(end_s, 3),
        rate_hz=round(len(predictions) / float(wall_s[-1] - wall_s[0]), 2) if len(wall_s) > 1 else None,
        max_gap_s=max_gap_s,
        faults=verdicts,
        ratios_seen=tuple(sorted({round(p.ratio, 4) for p in predictions})),
        mask_or_ratio_changes=len(changed),
        inference_at_change_ms_p99=percentile([p.inference_ms for p in changed if p.valid], 99),
        overhead_ms_p50=percentile(overhead_ms, 50),
        overhead_ms_p99=percentile(overhead_ms, 99),
        latency_ms_p50=percentile([p.latency_ms for p in valid], 50),
        latency_ms_p99=percentile([p.latency_ms for p in valid], 99),
        inference_ms_p50=percentile([p.inference_ms for p in valid], 50),
        inference_ms_p99=percentile([p.inference_ms for p in valid], 99),
        never_seen=tuple(name for name in names if all(row.of(name).state == "NEVER_SEEN" for row in statuses)),
        delivered={name: len(times) for name, times in delivered.all_s.items()},
        promises_broken=tuple(broken_promises(predictions, max_gap_s, percentile(overhead_ms, 99), verdicts, limits)),
    )


def broken_promises(
    predictions: Sequence[PredictionRow],
    max_gap_s: float | None,
    overhead_ms_p99: float | None,
    verdicts: Sequence[FaultVerdict],
    limits: Limits,
) -> list[str]:
    """Every promise that the run broke, in words."""
    broken = []
    if not predictions:
        broken.append("no predictions came")
    if max_gap_s is not None and max_gap_s > 2 * limits.fuse_period_s:
        broken.append(f"a gap of {max_gap_s} s between predictions, promised {2 * limits.fuse_period_s:g} s")
    if overhead_ms_p99 is not None and overhead_ms_p99 > limits.overhead_ms:
        broken.append(f"overhead_ms_p99 {overhead_ms_p99}, promised {limits.overhead_ms:g}")
    not_finite = sum(not np.isfinite([p.confidence, p.latency_ms, p.inference_ms]).all() for p in predictions)
    if not_finite:
        broken.append(f"{not_finite} predictions with numbers that are not finite")
    return broken + [
        f"{v.sensor} {v.kind} at {v.from_s:g} s: clear {v.mask_clear_s} (limit {v.clear_limit_s}), return "
        f"{v.mask_return_s} (limit {v.return_limit_s}){', ' + v.note if v.note else ''}"
        for v in verdicts
        if not v.kept
    ]
