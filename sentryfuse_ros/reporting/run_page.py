"""The report of a run as one HTML page: headline numbers, the drawing, the faults, and how the predictions fared."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from ..replay.losses import BEFORE_S, Loss, losses
from ..replay.run_record import RunRecord
from ..replay.run_summary import RunResult
from ..replay.scores import Score
from ..replay.stream_scores import StreamSummary
from .pages import NBSP, NOTHING, Card, Cell, Table, in_words, render
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


def page(result: RunResult, drawing: Markup) -> str:
    """The page; ``drawing`` is that of `run_plots.draw_run`."""
    record, summary, scores = result.record, result.summary, result.scores
    values = {
        "record": record,
        "summary": summary,
        "scores": scores,
        "faults": len(record.script.faults),
        "sensors": [name for name in record.sensors() if not record.is_silent(name)],
        "ten_per_second": abs((summary.rate_hz or 0) - 10) < 0.5,
        "recording": describe_recording(record),
        "battery": describe_battery(record),
        "headline": headline(result),
        "drawing": drawing,
        "losses": loss_table(result),
        "states": states_in_words(record),
        "before_s": BEFORE_S,
        "missing": missing_table(result),
        "segments": segment_table(result),
        "captions": caption_table(record),
        "stream": result.stream,
        "stream_parts": stream_table(result.stream),
        "stream_words": words_table(record),
        "about": facts(result),
    }
    return render("run.html", values, {"accuracy": accuracy, "counts": counts})


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


def describe_recording(record: RunRecord) -> str:
    """How a simulated recording was made, or what its description says; "" for other recordings."""
    made = record.description
    if made is None or not made.is_simulated():
        return made.text if made is not None else ""
    levels = [f"{name} {made.nuisances[name]:.2f}" for name in made.disturbed if name in made.nuisances]
    grounds = record.labels.names() if record.labels is not None else ()
    return (
        "A simulated four-wheeled robot drives over changing ground"
        + (f" ({', '.join(grounds)})" if grounds else "")
        + f" at {made.nuisances.get('speed_mps', 0):.2f} m/s in world {made.world} of the {made.split} split"
        + (", which no training example comes from" if made.split == "test" else "")
        + (f". Its sensors are disturbed by {' and '.join(levels)} (0 is none, 1 is most)." if levels else ".")
    )


def describe_battery(record: RunRecord) -> str:
    """What the battery did to the network, in a sentence."""
    percents = [v for p in record.predictions if (v := record.battery_percent(p.t_s)) == v]
    ratios = sorted({p.ratio for p in record.predictions})
    if not percents or not ratios:
        return ""
    return f"The battery went from {percents[0]:.0f} % to {percents[-1]:.0f} %" + (
        f"; meanwhile the node was asked to save up to {100 * ratios[-1]:.0f} % of an inference."
        if ratios[-1] > 0
        else "; nothing was pruned."
    )


def headline(result: RunResult) -> list[Card]:
    record, summary, scores, cards = result.record, result.summary, result.scores, []
    if scores.overall.judged:
        cards += [
            Card(accuracy(scores.overall), "accuracy over the run", counts(scores.overall)),
            Card(accuracy(scores.all_sensors), "with all sensors", counts(scores.all_sensors)),
            Card(accuracy(scores.sensor_missing), "while sensors were missing", counts(scores.sensor_missing)),
        ]
    silent = summary.predictions - summary.valid_predictions
    cards.append(
        Card(
            seconds(summary.max_gap_s),
            "longest wait for a prediction",
            f"{summary.predictions} predictions, {silent} of them without any live sensor",
        )
    )
    cleared = [v for v in summary.mask_clear_s if v is not None]
    if cleared:
        cards.append(
            Card(seconds(max(cleared)), "slowest detection of a loss", f"fastest {min(cleared):.2f} s, of {len(cleared)}")
        )
    cards.append(Card(numbers(summary.ratios_seen), "pruning ratios", f"{len(summary.ratios_seen)} levels in force"))
    flops = [row.flops for row in record.power if row.flops]
    if flops:
        cards.append(
            Card(
                f"{min(flops) / 1e6:.1f} to {max(flops) / 1e6:.1f}",
                "MFLOPs per prediction",
                f"{record.power[-1].flops_dense / 1e6:.1f} with all sensors and nothing pruned",
            )
        )
    if result.stream is not None:
        cards.append(
            Card(
                percent(result.stream.tokens),
                "share of the camera's tokens encoded anew",
                f"{percent(1 - result.stream.flops)} of its encoder's FLOPs saved, "
                f"{result.stream.switches_per_s:.2f} switches of the branch a second",
            )
        )
    if summary.inference_ms_p50 is not None:
        cards.append(
            Card(
                f"{summary.inference_ms_p50:.1f} ms",
                "median inference time",
                f"overhead: median {summary.overhead_ms_p50:.1f} ms, 99th percentile {summary.overhead_ms_p99:.1f} ms",
            )
        )
    return cards


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
        words.append(f"{during.silent} without any live sensor")
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
    heads = ["missing", *(["accuracy"] if judged else []), "predictions", "no live sensor", "median confidence"]
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
            predicted.append(f"no live sensor {segment.score.silent}")
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


def _data_in_words(trained_on: str) -> str:
    """`ModelInfo.trained_on`, the JSON of a checkpoint's section on its data, in words; other text as it is."""
    try:
        data = json.loads(trained_on)
    except ValueError:
        return trained_on
    return in_words(data) if isinstance(data, dict) else trained_on


def facts(result: RunResult) -> list[tuple[str, str]]:
    """What was run, as pairs (name, value)."""
    record, model = result.record, result.record.model
    pairs = [
        ("recording", record.bag),
        ("model", f"{model.name}, {model.parameters:,} parameters" if model.name else NOTHING),
        ("trained on", _data_in_words(model.trained_on)),
        ("weights (sha256)", model.sha256),
        ("sensors", ", ".join(f"{name} from {topic}" for name, topic in (result.sensors or {}).items())),
        ("machine", record.environment),
    ]
    return [(name, value) for name, value in pairs if value]
