"""The figures of a run, and the promises that it broke: did the mask follow every fault, and did predictions keep coming?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from .faults import InjectedFault
from .judge import FaultVerdict, Limits, judge_fault
from .recorded_state import RecordedState
from .run_record import PredictionRow, RunRecord, StatusRow, never_ok
from .schedule import DeliveryLog
from .scores import RunScores
from .stream_scores import StreamSummary


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
    never_ok: Mapping[str, str]
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
    """A run that was played and judged.

    bag: as it was given. stream: of the model's camera, if it is one. sensors: sensor name -> topic. holes: silences of the
    recording that were skipped, from and to [s]. damage: what of the recording could not be read. speed: of the playback, 1 for
    real time.
    """

    record: RunRecord
    summary: RunSummary
    scores: RunScores
    bag: str = ""
    stream: StreamSummary | None = None
    sensors: Mapping[str, str] | None = None
    fuse_node_exit_status: int = 0
    holes: Sequence[tuple[float, float]] = ()
    damage: str = ""
    speed: float = 1.0

    def to_dict(self) -> dict[str, object]:
        """What ``--json`` writes: figures, verdicts and scores, without the record."""
        return {
            **self.summary.to_dict(),
            "truth": self.scores.to_dict(),
            "stream": self.stream.to_dict() if self.stream is not None else None,
            "fuse_node_exit_status": self.fuse_node_exit_status,
            "bag": self.bag,
            "sensors": dict(self.sensors or {}),
            "holes_s": [list(hole) for hole in self.holes],
            "damage": self.damage,
            "speed": self.speed,
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
    recorded: RecordedState | None = None,
    end_wall_s: float | None = None,
) -> RunSummary:
    """The figures of a run that was played for ``end_s`` seconds, and what it did to the promises.

    end_wall_s: its end on the clock of `PredictionRow.wall_s`, so that the pause after the last prediction counts as well.
    """
    valid = [p for p in predictions if p.valid]
    changed = [b for a, b in zip(predictions, predictions[1:]) if a.mask != b.mask or a.ratio != b.ratio]
    verdicts = tuple(judge_fault(fault, statuses, delivered, limits, end_s, recorded) for fault in faults)
    wall_s = np.array([p.wall_s for p in predictions])
    gap_ends_s = wall_s if end_wall_s is None or not len(wall_s) else np.append(wall_s, max(end_wall_s, wall_s[-1]))
    max_gap_s = round(float(np.diff(gap_ends_s).max()), 3) if len(gap_ends_s) > 1 else None
    overhead_ms = [p.overhead_ms for p in valid]
    names = sorted({name for row in statuses for name in row.states})
    sequence = [p.sequence for p in predictions]
    silent = never_ok(statuses)
    return RunSummary(
        predictions=len(predictions),
        valid_predictions=len(valid),
        missed_sequences=int(sequence[-1] - sequence[0] + 1 - len(sequence)) if sequence else 0,
        duration_s=round(end_s, 3),
        rate_hz=round((len(predictions) - 1) / float(wall_s[-1] - wall_s[0]), 2) if len(wall_s) > 1 else None,
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
        never_ok=silent,
        delivered={name: len(times) for name, times in delivered.all_s.items()},
        promises_broken=tuple(broken_promises(predictions, max_gap_s, percentile(overhead_ms, 99), verdicts, limits, silent)),
    )


def broken_promises(
    predictions: Sequence[PredictionRow],
    max_gap_s: float | None,
    overhead_ms_p99: float | None,
    verdicts: Sequence[FaultVerdict],
    limits: Limits,
    silent: Mapping[str, str],
) -> list[str]:
    """Every promise that the run broke, in words. silent: the sensors that were never OK, with their reasons."""
    broken = []
    if not predictions:
        broken.append("no predictions came")
    elif not any(p.valid for p in predictions):
        why = "; ".join(f"{name} {reason}" for name, reason in silent.items())
        broken.append("no valid prediction: " + (why or "no sensor sent anything that the model uses"))
    if max_gap_s is not None and max_gap_s > limits.gap_s:
        broken.append(
            f"a gap of {max_gap_s:g} s between two predictions or after the last, where at most {limits.gap_s:g} s are promised"
        )
    # Played faster, the node still polls by the wall clock, so that its ticks are late by the clock of the recording.
    if overhead_ms_p99 is not None and overhead_ms_p99 > limits.overhead_ms and limits.speed <= 1.0:
        broken.append(
            f"an overhead of {overhead_ms_p99:g} ms (99th percentile), where at most {limits.overhead_ms:g} ms are promised"
        )
    not_finite = sum(not np.isfinite([p.confidence, p.latency_ms, p.inference_ms, p.overhead_ms]).all() for p in predictions)
    if not_finite:
        broken.append(f"{not_finite} predictions with numbers that are not finite")
    return broken + [v.describe() for v in verdicts if not v.kept]
