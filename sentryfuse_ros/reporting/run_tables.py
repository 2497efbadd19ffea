"""The tables of a run's page, and how their numbers are written."""

from __future__ import annotations

from collections.abc import Sequence

from ..replay.losses import Loss, losses
from ..replay.run_record import RunRecord
from ..replay.run_summary import RunResult
from ..replay.scores import Score
from ..replay.stream_scores import StreamSummary
from .pages import NBSP, NOTHING, Cell, Table
from .stream_words import sentences

STATE_WORDS = {
    "NEVER_SEEN": "no message has come yet",
    "LATE": "messages are too long on the way",
    "STALE": "silent for too long",
    "FROZEN": "the same payload again and again",
    "INVALID": "a payload or a stamp that cannot be true",
    "RECOVERING": "sending good messages again, but not yet enough of them to be trusted",
    "IMPLAUSIBLE": "data unlike those that the model was trained on",
    "DISABLED": "taken out of use by an operator",
    "ASLEEP": "the driver was asked to stop it",
}
SHOWN_CLASSES = 4  # of those that were predicted in a segment, the most frequent


def accuracy(score: Score) -> str:
    return NOTHING if score.accuracy is None else f"{100 * score.accuracy:.1f}{NBSP}%"


def counts(score: Score) -> str:
    return f"{score.correct} of {score.judged} correct" if score.judged else "none to judge"


def confidence(score: Score) -> str:
    return NOTHING if score.confidence_p50 is None else f"{score.confidence_p50:.2f}"


def seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f} s"


def numbers(values: Sequence[float]) -> str:
    """All of a few numbers, the first and the last of many."""
    return ", ".join(f"{v:g}" for v in values) if len(values) < 4 else f"{values[0]:g} to {values[-1]:g}"


def loss_table(result: RunResult) -> Table:
    heads = ["", "sensor", "injected", "what was done", "noticed as", "left out after", "back after its end"]
    if result.record.predictions:
        heads.append("predictions meanwhile")
    rows = [loss_cells(loss)[: len(heads)] for loss in losses(result.record, result.summary.faults)]
    return Table(heads, rows)


def loss_cells(loss: Loss) -> list[Cell]:
    fault, verdict = loss.fault, loss.verdict
    limit = "" if verdict.clear_limit_s is None else f" (≤ {verdict.clear_limit_s:.2f})"
    late = verdict.clear_limit_s is not None and not verdict.kept
    return [
        Cell(str(loss.number)),
        Cell(fault.sensor),
        Cell(f"{fault.from_s:g} to {fault.to_s:g} s", "nowrap"),
        Cell(loss.done),
        Cell(", ".join(verdict.seen_as) or NOTHING, note=loss.reason),
        Cell(seconds(verdict.mask_clear_s) + limit, "nowrap bad" if late else "nowrap"),
        Cell(seconds(loss.back_s), note=verdict.note),
        meanwhile(loss),
    ]


def meanwhile(loss: Loss) -> Cell:
    """How the predictions fared during a fault, compared with those before it."""
    before, during, words = loss.before, loss.during, []
    if during.judged:
        words.append(f"{counts(during)} ({accuracy(during)})" + (f"; before: {accuracy(before)}" if before.judged else ""))
    elif during.ticks > during.silent:
        words.append(f"{during.ticks - during.silent} made")
    if during.silent:
        words.append(f"{during.silent} without a prediction")
    note = ""
    if during.confidence_p50 is not None:
        was = f"; before: {before.confidence_p50:.2f}" if before.confidence_p50 is not None else ""
        note = f"median confidence {during.confidence_p50:.2f}{was}"
    return Cell("; ".join(words) or NOTHING, note=note)


def states_in_words(record: RunRecord) -> str:
    """What the states mean that a sensor was in, other than OK."""
    occurred = {row.of(name).state for row in record.statuses for name in record.sensors()}
    return "; ".join(f"{state}: {words}" for state, words in STATE_WORDS.items() if state in occurred)


def missing_table(result: RunResult) -> Table:
    judged = result.scores.overall.judged > 0
    heads = ["missing", *(["accuracy"] if judged else []), "predictions", "no prediction", "median confidence"]
    rows = [
        [
            Cell(", ".join(entry.missing) or "nothing"),
            *([accuracy_cell(entry.score)] if judged else []),
            Cell(str(entry.score.judged if judged else entry.score.ticks - entry.score.silent)),
            Cell(str(entry.score.silent or "")),
            Cell(confidence(entry.score)),
        ]
        for entry in result.scores.by_missing
    ]
    return Table(heads, rows)


def accuracy_cell(score: Score) -> Cell:
    return Cell(accuracy(score), "nowrap", bar=None if score.accuracy is None else round(100 * score.accuracy))


def segment_table(result: RunResult) -> Table:
    judged = result.scores.overall.judged > 0
    heads = [
        "time",
        "faults",
        *(["truth"] if judged else []),
        "predicted, how often",
        *(["accuracy"] if judged else []),
        "median confidence",
        "pruning ratio",
    ]
    rows = []
    for segment in result.scores.segments:
        predicted = [f"{name} {count}" for name, count in list(segment.predicted.items())[:SHOWN_CLASSES]]
        if segment.score.silent:
            predicted.append(f"no prediction {segment.score.silent}")
        rows.append(
            [
                Cell(f"{segment.from_s:g} to {segment.to_s:.4g} s", "nowrap"),
                Cell(", ".join(segment.faults) or "none"),
                *([Cell(", ".join(segment.labels) or NOTHING)] if judged else []),
                Cell(", ".join(predicted) or NOTHING),
                *([accuracy_cell(segment.score)] if judged else []),
                Cell(confidence(segment.score)),
                Cell(numbers(segment.ratios) or NOTHING),
            ]
        )
    return Table(heads, rows)


def caption_table(record: RunRecord) -> Table:
    """What the robot said, beside the truth where there is one. Sentences of the same words in a row are one line."""
    labels, rows, last = record.labels, [], ""
    for caption in record.captions:
        if caption.text != last:
            truth = [] if labels is None else [Cell(labels.at_s(caption.t_s) or NOTHING)]
            rows.append([Cell(f"{caption.t_s:.1f} s", "nowrap"), *truth, Cell(caption.text)])
        last = caption.text
    return Table(["time", *([] if labels is None else ["truth"]), "sentence"], rows)


def percent(share: float) -> str:
    return f"{100 * share:.1f}{NBSP}%" if share < 0.1 else f"{100 * share:.0f}{NBSP}%"


def stream_table(stream: StreamSummary | None) -> Table:
    """How the stream followed the scene: a line for each label at each pruning ratio."""
    parts = stream.parts if stream is not None else ()
    named = any(part.label for part in parts)
    heads = [
        "ratio",
        *(["what is to be seen"] if named else []),
        "predictions",
        "tokens encoded anew",
        "FLOPs of the encoder",
        "reuse",
        "light",
        "full",
        "median inference",
    ]
    rows = [
        [
            Cell(f"{part.ratio:g}"),
            *([Cell(part.label or NOTHING)] if named else []),
            Cell(str(part.predictions)),
            Cell(percent(part.tokens), "nowrap", bar=round(100 * part.tokens)),
            Cell(percent(part.flops), "nowrap"),
            *(Cell(f"{100 * share:.0f}{NBSP}%", "nowrap") for share in (part.reuse, part.light, part.full)),
            Cell(f"{part.inference_ms_p50:.2f} ms", "nowrap"),
        ]
        for part in parts
    ]
    return Table(heads, rows)


def words_table(record: RunRecord) -> Table:
    """What the stream sees in sentences, beside the truth where there is one."""
    labels = record.labels
    rows = [
        [
            Cell(f"{said.t_s:.1f} s", "nowrap"),
            *([] if labels is None else [Cell(labels.at_s(said.t_s) or NOTHING, "nowrap")]),
            Cell(said.text),
        ]
        for said in sentences(record)
    ]
    return Table(["time", *([] if labels is None else ["truth"]), "sentence"], rows)
