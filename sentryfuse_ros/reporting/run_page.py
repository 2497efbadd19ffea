"""A run as one HTML file: headline numbers, the drawing, what was broken and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..replay.losses import BEFORE_S, Loss, losses
from ..replay.run_record import RunRecord
from .html import Html, bar, card, page, table, tag
from .run_plots import draw_run

NOTHING, NBSP = "–", "\u00a0"


def write_report(path: Path, record: RunRecord, summary: Mapping[str, Any]) -> None:
    """Also writes its drawing beside it, as a PNG.

    ``summary`` is that of `judge.summarise`, with `truth.judge_predictions` under "truth".
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sections = [
        *opening(record, summary),
        headline(record, summary),
        *drawing(record, path.with_suffix(".png")),
        *loss_table(record, summary),
        *missing_table(summary),
        *segment_table(summary),
        *promises(summary),
        *facts(record, summary),
    ]
    path.write_text(page(f"SentryFuse: {record.bag}", sections), encoding="utf-8")


def percent(score: Mapping[str, Any]) -> str:
    return NOTHING if score["accuracy"] is None else f"{100 * score['accuracy']:.1f}{NBSP}%"


def of_judged(score: Mapping[str, Any]) -> str:
    return f"{score['right']} of {score['judged']} right" if score["judged"] else "none to judge"


def seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f} s"


def numbers(values: list[float]) -> str:
    """A list of ratios, a long one by its ends."""
    return ", ".join(f"{v:g}" for v in values) if len(values) < 4 else f"{values[0]:g} to {values[-1]:g}"


# --- sections ----------------------------------------------------------------------------------------------


def opening(record: RunRecord, summary: Mapping[str, Any]) -> list[Html]:
    """What this is, for someone who has never seen the project."""
    names = [n for n in record.sensors() if not record.silent(n)]
    count = len(record.script.faults)
    lines = [tag("h1", "Sensors fail: what the robot still knew" if count else "What the robot knew")]
    told = describe_recording(record)
    if told:
        lines.append(tag("p", told))
    lines.append(
        tag(
            "p",
            f"The recording ({record.end_s:.0f} s) was played at its own rate over ROS 2 topics into ",
            tag("b", "fuse_node"),
            f", the program that would run on the robot. It watches {len(names)} sensors ({', '.join(names)}), leaves out those it "
            "cannot trust, and says ten times a second "
            if abs((summary["rate_hz"] or 0) - 10) < 0.5
            else "cannot trust, and says ",
            "which class it believes in, one of "
            + ", ".join(record.model.classes[:8])
            + (f" and {len(record.model.classes) - 8} more. " if len(record.model.classes) > 8 else ". "),
            f"On the way there, {count} fault{'s were' if count != 1 else ' was'} injected. "
            if count
            else "Nothing was broken. ",
            drain(record),
        )
    )
    return lines


def describe_recording(record: RunRecord) -> str:
    """What a simulated recording was; "" for others."""
    about = record.about
    if not {"split", "world", "nuisances"} <= set(about):
        return ""
    levels = [f"{name} {about['nuisances'][name]:.2f}" for name in about.get("disturbed", ())]
    grounds = list(dict.fromkeys(label for _, _, label in record.labels.intervals)) if record.labels else []
    return (
        "A simulated four-wheeled robot drives over changing ground"
        + (f" ({', '.join(grounds)})" if grounds else "")
        + f" at {about['nuisances'].get('speed_mps', 0):.2f} m/s in world {about['world']} of the {about['split']} split"
        + (", from which no training example comes" if about["split"] == "test" else "")
        + (f". Its sensors are disturbed by {' and '.join(levels)} (0 is none, 1 is most)." if levels else ".")
    )


def drain(record: RunRecord) -> str:
    """What the battery did to the network, in a sentence."""
    percents = [v for p in record.predictions if (v := record.battery_percent(p.t_s)) == v]
    ratios = sorted({p.ratio for p in record.predictions})
    if not percents or not ratios:
        return ""
    return f"The battery went from {percents[0]:.0f} % to {percents[-1]:.0f} %" + (
        f", so the node switched off up to {100 * ratios[-1]:.0f} % of what can be pruned in its network, while it ran."
        if ratios[-1] > 0
        else "; nothing was pruned."
    )


def headline(record: RunRecord, summary: Mapping[str, Any]) -> Html:
    truth, cards = summary["truth"], []
    if truth["overall"]["judged"]:
        cards += [
            card(percent(truth["overall"]), "right in all", of_judged(truth["overall"])),
            card(percent(truth["all_sensors"]), "with all sensors", of_judged(truth["all_sensors"])),
            card(percent(truth["sensor_missing"]), "while sensors were missing", of_judged(truth["sensor_missing"])),
        ]
    cleared = [v for v in summary["mask_clear_s"] if v is not None]
    cards += [
        card(
            seconds(summary["max_gap_s"]),
            "longest wait for a prediction",
            f"{summary['predictions']} predictions, {summary['predictions'] - summary['valid_predictions']} of them said "
            "that no sensor was live",
        )
    ]
    if cleared:
        cards.append(
            card(seconds(max(cleared)), "slowest to notice a loss", f"fastest {min(cleared):.2f} s, {len(cleared)} losses")
        )
    cards.append(card(numbers(summary["ratios_seen"]), "pruning ratios", f"{len(summary['ratios_seen'])} levels in force"))
    flops = [row.flops for row in record.power if row.flops]
    if flops:
        cards.append(
            card(
                f"{min(flops) / 1e6:.1f} to {max(flops) / 1e6:.1f}",
                "MFLOP per prediction",
                f"{record.power[-1].flops_dense / 1e6:.1f} with all sensors and nothing pruned",
            )
        )
    if summary["inference_ms_p50"] is not None:
        cards.append(
            card(
                f"{summary['inference_ms_p50']:.1f} ms",
                "the network, median",
                f"all else {summary['overhead_ms_p50']:.1f} ms, p99 {summary['overhead_ms_p99']:.1f} ms",
            )
        )
    return tag("div", *cards, css="cards")


def drawing(record: RunRecord, picture: Path) -> list[Html]:
    return [
        tag("h2", "The whole run"),
        tag("div", Html(draw_run(record, picture)), css="sheet"),
        tag(
            "p",
            "Every panel has the same time axis. Grey: something is being broken. STALE: silent for too long; FROZEN: "
            "the same payload again and again; INVALID: payload that cannot be true; RECOVERING: good again, but not yet "
            "often enough to be trusted.",
            css="soft small",
        ),
    ]


def loss_table(record: RunRecord, summary: Mapping[str, Any]) -> list[Html]:
    rows = losses(record, summary["faults"])
    if not rows:
        return []
    heads = ["", "sensor", "injected", "what was done", "noticed as", "left out after", "back after its end"]
    if record.predictions:
        heads.append("predictions meanwhile")
    return [
        tag("h2", "The losses"),
        table(heads, [loss_cells(record, loss)[: len(heads)] for loss in rows]),
        tag(
            "p",
            "Left out after: from the fault's begin to the first prediction without the sensor (in brackets what is "
            "promised). Back after its end: some good messages are needed first. Before: the "
            f"{BEFORE_S:g} s before the fault.",
            css="soft small",
        ),
    ]


def loss_cells(record: RunRecord, loss: Loss) -> list[object]:
    fault = loss.fault
    limit = f" (≤ {loss.clear_limit_s:.2f})" if loss.clear_limit_s is not None else ""
    late = loss.clear_limit_s is not None and not loss.kept
    return [
        loss.number,
        tag("b", fault.sensor),
        tag("span", f"{fault.from_s:g} to {fault.to_s:g} s", css="n"),
        loss.done,
        noticed_as(loss),
        tag("span", seconds(loss.clear_s) + limit, css="n bad" if late else "n"),
        Html(seconds(loss.back_s) + (tag("small", loss.note) if loss.note else "")),
        meanwhile(loss),
    ]


def noticed_as(loss: Loss) -> Html:
    return Html(tag("span", ", ".join(loss.seen_as) or NOTHING) + (tag("small", loss.reason) if loss.reason else ""))


def meanwhile(loss: Loss) -> Html:
    """What the predictions did during a fault, against those before."""
    before, during = loss.before, loss.during
    words = []
    if during["judged"]:
        words.append(f"{of_judged(during)} ({percent(during)})" + (f"; before: {percent(before)}" if before["judged"] else ""))
    elif during["ticks"] > during["silent"]:
        words.append(f"{during['ticks'] - during['silent']} made")
    if during["silent"]:
        words.append(f"{during['silent']} times: no live sensor")
    sure = ""
    if during["confidence_p50"] is not None:
        was = f"{before['confidence_p50']:.2f}, then " if before["confidence_p50"] is not None else ""
        sure = tag("small", f"median confidence {was}{during['confidence_p50']:.2f}")
    return Html(tag("span", "; ".join(words) or NOTHING) + sure)


def missing_table(summary: Mapping[str, Any]) -> list[Html]:
    truth = summary["truth"]
    judged = truth["overall"]["judged"] > 0
    rows = [
        [
            ", ".join(row["missing"]) or "nothing",
            *([accuracy_cell(row)] if judged else []),
            row["judged"] if judged else row["ticks"] - row["silent"],
            row["silent"] or "",
            confidence(row),
        ]
        for row in truth["by_missing"]
    ]
    heads = ["missing", *(["right"] if judged else []), "predictions", "no live sensor", "median confidence"]
    notes = "By the mask of each prediction. Consecutive predictions share most of their data, so a few seconds say little."
    if truth["steady"]["judged"]:
        notes += (
            f" Where the label had held for the whole time a prediction looks back on: {percent(truth['steady'])} "
            f"({of_judged(truth['steady'])})."
        )
    if truth["labels_without_class"]:
        notes += " Not judged, because the model has no such class: " + ", ".join(truth["labels_without_class"]) + "."
    return [tag("h2", "By what was missing"), table(heads, rows), tag("p", notes, css="soft small")]


def accuracy_cell(score: Mapping[str, Any]) -> Html:
    return tag("span", bar(score["accuracy"]) if score["accuracy"] is not None else "", percent(score), css="n")


def confidence(score: Mapping[str, Any]) -> str:
    return NOTHING if score["confidence_p50"] is None else f"{score['confidence_p50']:.2f}"


def segment_table(summary: Mapping[str, Any]) -> list[Html]:
    rows, judged = [], summary["truth"]["overall"]["judged"] > 0
    for piece in summary["truth"]["segments"]:
        said = ", ".join(f"{name} {count}" for name, count in list(piece["said"].items())[:4])
        if piece["silent"]:
            said += (", " if said else "") + f"no live sensor {piece['silent']}"
        rows.append(
            [
                tag("span", f"{piece['from_s']:g} to {piece['to_s']:.4g} s", css="n"),
                ", ".join(piece["faults"]) or "nothing",
                *([", ".join(piece["labels"]) or NOTHING] if judged else []),
                said or NOTHING,
                *([accuracy_cell(piece)] if judged else []),
                confidence(piece),
                numbers(piece["ratios"]) or NOTHING,
            ]
        )
    heads = [
        "time",
        "broken",
        *(["truth"] if judged else []),
        "said how often",
        *(["right"] if judged else []),
        "median confidence",
        "pruning ratio",
    ]
    return [tag("h2", "Piece by piece"), table(heads, rows)]


def promises(summary: Mapping[str, Any]) -> list[Html]:
    if summary["promises_kept"]:
        return [
            tag("h2", "Promises"),
            tag(
                "p",
                tag("span", "All kept: ", css="good"),
                "no gap over two periods between predictions, every lost sensor left out and taken back within its limit, at "
                "most 10 ms (p99) added to the network's own time.",
            ),
        ]
    return [
        tag("h2", "Promises"),
        tag("p", tag("span", "Broken:", css="bad")),
        tag("ul", *(tag("li", line) for line in summary["promises_broken"])),
    ]


def facts(record: RunRecord, summary: Mapping[str, Any]) -> list[Html]:
    model = record.model
    rows = [
        ["recording", record.bag],
        ["model", f"{model.name}, {model.parameters:,} parameters" if model.name else NOTHING],
        ["trained on", model.trained_on],
        ["weights (sha256)", tag("code", model.sha256)],
        ["sensors", ", ".join(f"{name} from {topic}" for name, topic in summary.get("sensors", {}).items())],
        ["machine", record.environment],
    ]
    return [tag("h2", "What was run"), table(["", ""], [[tag("b", a), b] for a, b in rows if b])]
