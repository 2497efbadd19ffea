"""What was really there: the labelled intervals of a recording, and how predictions fare against them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .faults import FaultScript
from .judge import PredictionRow

INTERVALS_FILE = "intervals.csv"
TOUCHING_S = 1e-6  # intervals this close have nothing between them: seconds since 1970 are rounded


@dataclass(frozen=True)
class Labels:
    """(from_s, to_s, label) in seconds since the recording began, ascending; from_s counts to it, to_s does not.

    Neighbours that touch have different labels.
    """

    intervals: tuple[tuple[float, float, str], ...]

    def at(self, t_s: float) -> str:
        """The label at a time, "" where there is none."""
        i = bisect_right(self.intervals, t_s, key=lambda interval: interval[0]) - 1
        return self.intervals[i][2] if i >= 0 and t_s < self.intervals[i][1] else ""

    def between(self, from_s: float, to_s: float) -> tuple[str, ...]:
        """Labels of a stretch in order, repeated ones side by side named once; unlabelled gaps are left out."""
        met = [label for a, b, label in self.intervals if a < to_s and b > from_s]
        return tuple(label for i, label in enumerate(met) if i == 0 or met[i - 1] != label)

    def steady(self, t_s: float, window_s: float) -> bool:
        """Whether the label at t_s held for the whole window before it."""
        return any(a <= t_s - window_s and t_s < b for a, b, _ in self.intervals)

    def repeated(self, times: int, period_s: float) -> Labels:
        """The labels of a recording that is played several times in a row."""
        return Labels(tuple((a + n * period_s, b + n * period_s, label) for n in range(times) for a, b, label in self.intervals))


def find_intervals(bag: Path) -> Path | None:
    """The interval file beside a recording, where there is one."""
    path = (bag if bag.is_dir() else bag.parent) / INTERVALS_FILE
    return path if path.is_file() else None


def labels_of_run(intervals_ns: Iterable[tuple[int, int, str]], where: str, start_ns: int, duration_s: float) -> Labels:
    """Labels of the stamps [ns] as those of a recording that begins at ``start_ns``.

    Raises DataError naming ``where`` they are from, where none of them lies within the recording.
    """
    found: list[tuple[float, float, str]] = []
    for from_ns, to_ns, label in intervals_ns:
        from_s, to_s = (from_ns - start_ns) * 1e-9, (to_ns - start_ns) * 1e-9
        if found and found[-1][2] == label and from_s - found[-1][1] < TOUCHING_S:
            from_s = found.pop()[0]
        found.append((from_s, to_s, label))
    if not any(a < duration_s and b > 0 for a, b, _ in found):
        span = f"{found[0][0]:.1f} to {found[-1][1]:.1f} s of the recording" if found else "no interval"
        raise DataError(
            f"truth {where}",
            span,
            f"intervals within its 0 to {duration_s:.1f} s",
            "the times are those of the messages' stamps; check that the truth belongs to this recording",
        )
    return Labels(tuple(found))


# --- judging -----------------------------------------------------------------------------------------------


def verdict(prediction: PredictionRow, labels: Labels, classes: Sequence[str]) -> bool | None:
    """Right or wrong; None where there is nothing to judge: no prediction, no label, or one that the model has no class for."""
    label = labels.at(prediction.t_s)
    return prediction.class_name == label if prediction.valid and label in classes else None


def score(predictions: Sequence[PredictionRow], labels: Labels | None, classes: Sequence[str]) -> dict[str, Any]:
    """How often right, of how many judged; how many ticks had nothing to say; median confidence."""
    verdicts = [v for p in predictions if (v := verdict(p, labels, classes)) is not None] if labels else []
    sure = [p.confidence for p in predictions if p.valid]
    return {
        "ticks": len(predictions),
        "silent": len(predictions) - len(sure),
        "judged": len(verdicts),
        "right": sum(verdicts),
        "accuracy": round(sum(verdicts) / len(verdicts), 4) if verdicts else None,
        "confidence_p50": round(float(np.median(sure)), 3) if sure else None,
    }


def used_inputs(predictions: Sequence[PredictionRow]) -> tuple[bool, ...]:
    """Which model inputs were live at all in the run, in mask order."""
    return tuple(any(bits) for bits in zip(*(p.mask for p in predictions)))


def missing_inputs(prediction: PredictionRow, used: Sequence[bool], modalities: Sequence[str]) -> tuple[str, ...]:
    """Inputs that the run had, and this prediction had not."""
    return tuple(name for name, bit, had in zip(modalities, prediction.mask, used) if had and not bit)


def segments(script: FaultScript, end_s: float) -> list[tuple[float, float, tuple]]:
    """The run cut where a fault begins or ends: (from_s, to_s, faults active in between)."""
    edges = sorted({0.0, end_s} | {t for f in script.faults for t in (f.from_s, f.to_s) if 0 < t < end_s})
    return [(a, b, tuple(f for f in script.faults if f.active(a))) for a, b in zip(edges, edges[1:])]


def judge_predictions(
    predictions: Sequence[PredictionRow],
    labels: Labels | None,
    script: FaultScript,
    modalities: Sequence[str],
    classes: Sequence[str],
    window_s: float,
    end_s: float,
) -> dict[str, Any]:
    """The predictions against the truth, ready for JSON: in all, with and without missing sensors, piece by piece.

    ``window_s`` is the time that a prediction looks back on: `steady` counts only where the label held for that long.
    """

    def of(chosen: Sequence[PredictionRow]) -> dict[str, Any]:
        return score(chosen, labels, classes)

    used = used_inputs(predictions)
    by_missing: dict[tuple[str, ...], list[PredictionRow]] = {}
    for p in predictions:
        by_missing.setdefault(missing_inputs(p, used, modalities), []).append(p)
    whole = by_missing.get((), [])
    pieces = []
    for from_s, to_s, faults in segments(script, end_s):
        inside = [p for p in predictions if from_s <= p.t_s < to_s]
        pieces.append(
            {
                "from_s": round(from_s, 3),
                "to_s": round(to_s, 3),
                "faults": [f"{f.sensor} {f.kind}" for f in faults],
                "labels": list(labels.between(from_s, to_s)) if labels else [],
                "said": shares([p.class_name for p in inside if p.valid]),
                "ratios": sorted({round(p.ratio, 4) for p in inside}),
                **of(inside),
            }
        )
    known = {label for _, _, label in labels.intervals} if labels else set()
    return {
        "overall": of(predictions),
        "all_sensors": of(whole),
        "sensor_missing": of([p for p in predictions if missing_inputs(p, used, modalities)]),
        "steady": of([p for p in predictions if labels and labels.steady(p.t_s, window_s)]),
        "by_missing": [
            {"missing": list(names), **of(rows)}
            for names, rows in sorted(by_missing.items(), key=lambda item: (len(item[0]), -len(item[1])))
        ],
        "segments": pieces,
        "labels_without_class": sorted(known - set(classes)),
    }


def shares(names: Sequence[str]) -> dict[str, int]:
    """How often each occurs, the most frequent first."""
    return dict(sorted(((n, names.count(n)) for n in set(names)), key=lambda item: (-item[1], item[0])))
