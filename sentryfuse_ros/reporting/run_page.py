"""The report of a run as one HTML page: headline numbers, the drawing, and the tables of `run_tables`."""

from __future__ import annotations

import json

from markupsafe import Markup

from ..replay.losses import BEFORE_S
from ..replay.run_record import RunRecord
from ..replay.run_summary import RunResult
from .pages import NOTHING, Card, in_words, render
from .run_tables import (
    accuracy,
    caption_table,
    counts,
    loss_table,
    missing_table,
    numbers,
    percent,
    seconds,
    segment_table,
    states_in_words,
    stream_table,
    words_table,
)


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
        "pace": "its own rate" if result.speed == 1 else f"{result.speed:g} times its own rate",
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
            f"{summary.predictions} ticks, {silent} of them without a prediction",
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
        dense = dict.fromkeys(f"{n / 1e6:.1f}" for n in sorted(row.flops_dense for row in record.power if row.flops))
        cards.append(
            Card(
                f"{min(flops) / 1e6:.1f} to {max(flops) / 1e6:.1f}",
                "MFLOPs per prediction",
                f"{_ends(list(dense))} with all sensors and nothing pruned",
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


def _ends(words: list[str]) -> str:
    """The first and the last of some numbers, or the only one."""
    return words[0] if len(words) == 1 else f"{words[0]} to {words[-1]}"


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
