"""How the predictions of a run compare with the labels of its recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..bags.labels import AFTER_CHANGE_S, Labels
from ..errors import DataError
from ..nanoseconds import NS_PER_S
from .faults import FaultScript, InjectedFault
from .run_record import PredictionRow, RunRecord


@dataclass(frozen=True)
class Score:
    """How many predictions there were, how many were silent (not valid, as without a live sensor), judged and correct.

    accuracy is None if none could be judged; confidence_p50 (the median) is None if all were silent.
    """

    ticks: int
    silent: int
    judged: int
    correct: int
    accuracy: float | None
    confidence_p50: float | None

    def to_dict(self) -> dict[str, object]:
        return {
            "ticks": self.ticks,
            "silent": self.silent,
            "judged": self.judged,
            "right": self.correct,
            "accuracy": self.accuracy,
            "confidence_p50": self.confidence_p50,
        }


@dataclass(frozen=True)
class MissingScore:
    """The predictions that lacked the same inputs."""

    missing: tuple[str, ...]
    score: Score

    def to_dict(self) -> dict[str, object]:
        return {"missing": list(self.missing), **self.score.to_dict()}


@dataclass(frozen=True)
class SinceScore:
    """The predictions from_s to to_s after a change of the label (to_s None: later)."""

    from_s: float
    to_s: float | None
    score: Score

    def to_dict(self) -> dict[str, object]:
        return {"from_s": self.from_s, "to_s": self.to_s, **self.score.to_dict()}


@dataclass(frozen=True)
class SegmentScore:
    """The predictions between two changes of the injected faults.

    faults: "camera off", ... . labels: those that held meanwhile, in order. predicted: class -> how often it was predicted.
    ratios: the pruning ratios in force.
    """

    from_s: float
    to_s: float
    faults: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: dict[str, int]
    ratios: tuple[float, ...]
    score: Score

    def to_dict(self) -> dict[str, object]:
        return {
            "from_s": self.from_s,
            "to_s": self.to_s,
            "faults": list(self.faults),
            "labels": list(self.labels),
            "said": self.predicted,
            "ratios": list(self.ratios),
            **self.score.to_dict(),
        }


@dataclass(frozen=True)
class RunScores:
    """The predictions against the labels: all of them, with and without missing sensors, and segment by segment.

    steady: only predictions before which the label had held for as long as the model looks back. since_change: by the time since
    the label changed.
    """

    overall: Score
    all_sensors: Score
    sensor_missing: Score
    steady: Score
    since_change: tuple[SinceScore, ...]
    by_missing: tuple[MissingScore, ...]
    segments: tuple[SegmentScore, ...]
    labels_without_class: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "overall": self.overall.to_dict(),
            "all_sensors": self.all_sensors.to_dict(),
            "sensor_missing": self.sensor_missing.to_dict(),
            "steady": self.steady.to_dict(),
            "since_change": [entry.to_dict() for entry in self.since_change],
            "by_missing": [entry.to_dict() for entry in self.by_missing],
            "segments": [segment.to_dict() for segment in self.segments],
            "labels_without_class": list(self.labels_without_class),
        }


def labels_of_run(labels: Labels, source: str, start_ns: int, duration_s: float) -> Labels:
    """Labels on the clock of the stamps -> labels that count from the start of a recording at ``start_ns``.

    Raises DataError naming their ``source`` if none of them lies within the recording.
    """
    found = labels.since(start_ns)
    seconds = found.seconds()
    if not any(a < duration_s and b > 0 for a, b, _ in seconds):
        raise DataError(
            f"truth {source}",
            f"{seconds[0][0]:.1f} to {seconds[-1][1]:.1f} s of the recording" if seconds else "no interval",
            f"intervals within its 0 to {duration_s:.1f} s",
            "the times are those of the messages' stamps; check that the truth belongs to this recording",
        )
    return found


def is_correct(prediction: PredictionRow, labels: Labels | None, classes: Sequence[str]) -> bool | None:
    """Whether a prediction is correct; None if it cannot be judged.

    That is the case without a live sensor, without a label at that time, and for a label that the model has no class for.
    """
    label = labels.at_s(prediction.t_s) if labels is not None else ""
    return prediction.class_name == label if prediction.valid and label in classes else None


def score(predictions: Sequence[PredictionRow], labels: Labels | None, classes: Sequence[str]) -> Score:
    """Compare predictions with the labels of their times."""
    verdicts = [v for p in predictions if (v := is_correct(p, labels, classes)) is not None]
    confidences = [p.confidence for p in predictions if p.valid]
    return Score(
        ticks=len(predictions),
        silent=len(predictions) - len(confidences),
        judged=len(verdicts),
        correct=sum(verdicts),
        accuracy=round(sum(verdicts) / len(verdicts), 4) if verdicts else None,
        confidence_p50=round(float(np.median(confidences)), 3) if confidences else None,
    )


def used_inputs(predictions: Sequence[PredictionRow]) -> tuple[bool, ...]:
    """Which model inputs were live at any time in the run, in mask order."""
    return tuple(any(bits) for bits in zip(*(p.mask for p in predictions)))


def missing_inputs(prediction: PredictionRow, used: Sequence[bool], modalities: Sequence[str]) -> tuple[str, ...]:
    """The inputs that were live at some time in the run but not for this prediction."""
    return tuple(name for name, bit, had in zip(modalities, prediction.mask, used) if had and not bit)


def segments(script: FaultScript, end_s: float) -> list[tuple[float, float, tuple[InjectedFault, ...]]]:
    """The run divided wherever a fault begins or ends: (from_s, to_s, the faults active in between)."""
    edges = sorted({0.0, end_s} | {t for f in script.faults for t in (f.from_s, f.to_s) if 0 < t < end_s})
    return [(a, b, tuple(f for f in script.faults if f.active(a))) for a, b in zip(edges, edges[1:])]


def score_run(record: RunRecord) -> RunScores:
    """Compare all predictions of a run with its labels."""
    labels, classes, modalities = record.labels, record.model.classes, record.model.modalities

    def of(chosen: Sequence[PredictionRow]) -> Score:
        return score(chosen, labels, classes)

    used = used_inputs(record.predictions)
    by_missing: dict[tuple[str, ...], list[PredictionRow]] = {}
    for p in record.predictions:
        by_missing.setdefault(missing_inputs(p, used, modalities), []).append(p)
    window_ns = round(record.model.window_s * NS_PER_S)
    return RunScores(
        overall=of(record.predictions),
        all_sensors=of(by_missing.get((), [])),
        sensor_missing=of([p for p in record.predictions if missing_inputs(p, used, modalities)]),
        steady=of([p for p in record.predictions if labels is not None and is_steady(labels, p.t_s, window_ns)]),
        since_change=tuple(
            SinceScore(from_s, to_s, of([p for p in record.predictions if is_since(labels, p.t_s, from_s, to_s)]))
            for from_s, to_s in zip(AFTER_CHANGE_S, (*AFTER_CHANGE_S[1:], None))
        ),
        by_missing=tuple(
            MissingScore(names, of(rows))
            for names, rows in sorted(by_missing.items(), key=lambda item: (len(item[0]), -len(item[1])))
        ),
        segments=tuple(_segment(record, *segment) for segment in segments(record.script, record.end_s)),
        labels_without_class=tuple(sorted(set(labels.names() if labels is not None else ()) - set(classes))),
    )


def is_since(labels: Labels | None, t_s: float, from_s: float, to_s: float | None) -> bool:
    """Whether the label has changed from_s to to_s before a time."""
    since_s = labels.seconds_since_change(round(t_s * NS_PER_S)) if labels is not None else None
    return since_s is not None and since_s >= from_s and (to_s is None or since_s < to_s)


def is_steady(labels: Labels, t_s: float, window_ns: int) -> bool:
    """Whether one label held at a time and for the whole window before it."""
    t_ns = round(t_s * NS_PER_S)
    return len(labels.covering(t_ns - window_ns, t_ns + 1)) == 1


def _segment(record: RunRecord, from_s: float, to_s: float, faults: tuple[InjectedFault, ...]) -> SegmentScore:
    inside = [p for p in record.predictions if from_s <= p.t_s < to_s]
    begin_ns, end_ns = round(from_s * NS_PER_S), round(to_s * NS_PER_S)
    return SegmentScore(
        from_s=round(from_s, 3),
        to_s=round(to_s, 3),
        faults=tuple(f"{f.sensor} {f.kind}" for f in faults),
        labels=record.labels.between(begin_ns, end_ns) if record.labels is not None else (),
        predicted=by_frequency([p.class_name for p in inside if p.valid]),
        ratios=tuple(sorted({round(p.ratio, 4) for p in inside})),
        score=score(inside, record.labels, record.model.classes),
    )


def by_frequency(names: Sequence[str]) -> dict[str, int]:
    """How often each name occurs, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
