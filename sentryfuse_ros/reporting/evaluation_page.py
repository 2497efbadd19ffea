"""An evaluation report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from ..evaluation.records import Confusion, EvaluationReport, Interval95, MaskResult, Measurement, Moments
from . import evaluation_plots as plots
from .latency_table import BUDGETS
from .pages import NBSP, NOTHING, Card, Cell, Picture, Table, in_words, percent, render, words
from .svg import svg_of

PIXELS_PER_INCH = 96
MIXED_UP_SHOWN = 3  # pairs of classes


@dataclass(frozen=True)
class ConfusionView:
    """A confusion matrix with its caption and a text about the most frequent errors; basis_px: width that it asks for."""

    caption: str
    text: str
    picture: Picture
    basis_px: int


def page(report: EvaluationReport) -> str:
    """The page."""
    measured = report.measured
    names = {group.missing: group.name for group in measured.reliability}
    threads = report.machine["threads"]
    values = {
        "report": report,
        "measured": measured,
        "groups": report.split or "groups " + words(report.groups),
        "silent": [f"{name} in {percent(1 - share)} %" for name, share in measured.live_share.items() if share < 1],
        "headline": headline(measured),
        "heat_map": picture(
            plots.accuracy_heat_map(measured.rows, measured.levels), "heat", "accuracy per mask and pruning ratio"
        ),
        "by_flops": picture(plots.accuracy_by_flops(measured.rows, names), "flops", "accuracy against FLOPs"),
        "confusions": [confusion_view(measured, place) for place in range(len(measured.confusion))],
        "by_class": class_table(measured),
        "few": plots.FEW,
        "confidence_by_missing": ", ".join(f"{percent(g.confidence)} % ({g.name})" for g in measured.reliability),
        "calibration": picture(plots.calibration(measured.reliability), "calibration", "confidence against accuracy"),
        "by_condition": condition_table(measured),
        "by_moment": moment_table(measured.moments),
        "cost": cost_table(measured),
        "timed": is_timed(measured),
        "threads": "1 thread" if threads == 1 else f"{threads} threads",
        "as_whole": is_judged_as_whole(measured),
        "cells": cell_table(measured),
        "provenance": provenance(report),
    }
    return render("evaluation.html", values, {})


def picture(figure: Figure, prefix: str, title: str) -> Picture:
    return Picture(svg_of(figure, prefix, title), round(figure.get_figwidth() * PIXELS_PER_INCH))


def is_timed(measured: Measurement) -> bool:
    """Whether latencies were measured."""
    return measured.rows[0].latency_ms is not None


def is_judged_as_whole(measured: Measurement) -> bool:
    """Whether the examples were recordings rather than windows."""
    return measured.rows[0].accuracy_live is not None


def without(live: Sequence[str], modalities: Sequence[str]) -> str:
    """The live sensors -> "without camera, imu"."""
    return "without " + ", ".join(name for name in modalities if name not in live)


def interval(ci95: Interval95 | None) -> str:
    return f"{percent(ci95[0])} to {percent(ci95[1])}" if ci95 else NOTHING


def headline(measured: Measurement) -> list[Card]:
    s = measured.summary
    flops = {row.ratio: row.flops for row in measured.rows if row.missing == 0}
    cards = [
        Card(
            percent(s.accuracy_all) + " %",
            "all sensors, nothing pruned",
            f"95 % interval {interval(s.accuracy_all_ci95)}" if s.accuracy_all_ci95 else "",
        )
    ]
    for count, accuracy, live in (
        ("one", s.accuracy_one_missing_worst, s.one_missing_worst_live),
        ("two", s.accuracy_two_missing_worst, s.two_missing_worst_live),
    ):
        if live is not None:
            cards.append(Card(percent(accuracy) + " %", f"worst with {count} missing", without(live, measured.modalities)))
    cards.append(Card(percent(s.best_single_accuracy) + " %", "best single sensor", s.best_single_sensor))
    for level, drop in ((s.level_r50, s.drop_r50_points), (s.level_r70, s.drop_r70_points)):
        fewer = 100 * (1 - flops[level] / flops[0.0])
        cards.append(
            Card(f"{drop:.2f} pt", f"accuracy lost at ratio {level:g}", f"mean over sensor sets; {fewer:.0f}{NBSP}% fewer FLOPs")
        )
    detail = f"mean over sensor sets; {s.ece_mean_all_ratios:.3f} over all ratios, too"
    cards.append(Card(f"{s.ece_mean:.3f}", "calibration error (ECE)", detail))
    return cards


def shaded(value: float | None, low: float, high: float) -> Cell:
    """A share in percent, the background coloured by its value and paler than in plots."""
    if value is None:
        return Cell(NOTHING)
    rgb, _ = plots.shade(value, low, high)
    return Cell(percent(value), colour=f"rgb({','.join(str(round(255 * (0.4 * c + 0.6))) for c in rgb)})")


def confusion_view(measured: Measurement, place: int) -> ConfusionView:
    """The confusion at a place: 0 is with all sensors, 1 is with the worst loss of one."""
    one = measured.confusion[place]
    title = confusion_title(measured, place)
    figure = plots.confusion_matrix(one, measured.classes)
    return ConfusionView(
        title[0].upper() + title[1:] + (" (the worst single loss)" if place else ""),
        mixed_up(one, measured.classes),
        picture(figure, f"confusion{place}", "confusion matrix, " + title),
        round(figure.get_figwidth() * 90),
    )


def confusion_title(measured: Measurement, place: int) -> str:
    return "all sensors" if place == 0 else without(measured.confusion[place].live, measured.modalities)


def mixed_up(confusion: Confusion, classes: Sequence[str]) -> str:
    """The most frequent errors in words, and how many windows had no prediction."""
    found = sorted(
        ((count, i, j) for i, row in enumerate(confusion.counts) for j, count in enumerate(row) if i != j and count),
        key=lambda pair: -pair[0],
    )[:MIXED_UP_SHOWN]
    pairs = ", ".join(f"{classes[i]} taken for {classes[j]} ({count})" for count, i, j in found)
    silent = sum(confusion.without_prediction)
    return (f"Most often: {pairs}." if found else "No errors.") + (
        f" {silent} windows without any live sensor." if silent else ""
    )


def class_table(measured: Measurement) -> Table:
    """Recall and precision of every class, with the sensors of each confusion."""
    first = measured.confusion[0]
    heads = ["class", "windows"]
    rows = [
        [Cell(name), Cell(str(sum(counts) + silent))]
        for name, counts, silent in zip(measured.classes, first.counts, first.without_prediction)
    ]
    for place, one in enumerate(measured.confusion):
        title = confusion_title(measured, place)
        heads += [f"recall, {title}", f"precision, {title}"]
        low = min((share for share in one.recall + one.precision if share is not None), default=0.0)
        for row, recall, precision in zip(rows, one.recall, one.precision):
            row += [shaded(recall, low, 1), shaded(precision, low, 1)]
    return Table(heads, rows, numbers=True)


def condition_table(measured: Measurement) -> Table:
    live = {row.mask: row.live for row in measured.rows}

    def head(mask: str) -> str:
        if "0" not in mask:
            return "all"
        return f"only {live[mask][0]}" if len(live[mask]) == 1 else without(live[mask], measured.modalities)

    masks = list(measured.conditions[0].accuracy)
    known = [a for row in measured.conditions for a in row.accuracy.values() if a is not None]
    rows = [
        [Cell(row.condition), Cell(str(row.windows)), Cell(str(row.recordings))]
        + [shaded(row.accuracy[mask], min(known), max(known)) for mask in masks]
        for row in measured.conditions
    ]
    return Table(["condition", "windows", "recordings", *map(head, masks)], rows, numbers=True)


def moment_table(met: Moments | None) -> Table | None:
    """Steady and all moments, and by the time since the label changed; None if the data set has steady windows only."""
    if met is None or met.windows == met.steady_windows:
        return None
    lines = [("steady", met.steady_windows, met.steady_accuracy), ("all moments", met.windows, met.accuracy)]
    for since in met.since_change:
        until = "and later" if since.to_s is None else f"to {since.to_s:g} s"
        lines.append((f"{since.from_s:g} s {until} after a change", since.windows, since.accuracy))
    rows = [[Cell(name), Cell(str(windows)), Cell(percent(accuracy))] for name, windows, accuracy in lines]
    return Table(["moments", "windows", "accuracy %"], rows, numbers=True)


def cost_table(measured: Measurement) -> Table:
    """MFLOPs, parameters and latency of every mask at a few ratio levels."""

    def at_ratio(what: str, level: float) -> str:
        return f"{what.replace(' ', NBSP)} r{NBSP}={NBSP}{level:g}"  # breaks before r only

    s, levels, timed = measured.summary, measured.levels, is_timed(measured)
    shown = sorted({levels[0], s.level_r50, s.level_r70, levels[-1]})
    ends = (shown[0], shown[-1])
    heads = ["live sensors", *(at_ratio("MFLOPs", r) for r in shown), *(at_ratio("k params", r) for r in ends)]
    heads += [at_ratio("ms", r) for r in shown] if timed else []
    at = {(row.mask, row.ratio): row for row in measured.rows}
    rows = []
    for mask in dict.fromkeys(row.mask for row in measured.rows):
        row = [Cell(" + ".join(at[mask, shown[0]].live))]
        row += [mflops(at[mask, r]) for r in shown] + [k_params(at[mask, r]) for r in ends]
        row += [latency(at[mask, r]) for r in shown] if timed else []
        rows.append(row)
    return Table(heads, rows, numbers=True)


def mflops(row: MaskResult) -> Cell:
    return Cell(f"{row.flops / 1e6:.1f}")


def k_params(row: MaskResult) -> Cell:
    return Cell(f"{row.params / 1e3:.0f}")


def latency(row: MaskResult) -> Cell:
    return Cell(NOTHING if row.latency_ms is None else f"{row.latency_ms:.2f}")


def ece(value: float | None) -> Cell:
    return Cell(NOTHING if value is None else f"{value:.3f}")


def cell_table(measured: Measurement) -> Table:
    """Every mask at every ratio level."""
    whole = is_judged_as_whole(measured)
    heads = ["live sensors", "ratio", "judged", "accuracy %", "95 % interval", "ECE", "mean confidence %"]
    heads += ["accuracy % live", "ECE live"] if whole else []
    heads += ["MFLOPs", "k params", "latency ms"]
    rows = [
        [
            Cell(" + ".join(row.live)),
            Cell(f"{row.ratio:g}"),
            Cell(str(row.judged)),
            Cell(percent(row.accuracy)),
            Cell(interval(row.ci95)),
            ece(row.ece),
            Cell(percent(row.confidence)),
            *([Cell(percent(row.accuracy_live)), ece(row.ece_live)] if whole else []),
            mflops(row),
            k_params(row),
            latency(row),
        ]
        for row in measured.rows
    ]
    return Table(heads, rows, numbers=True)


def provenance(report: EvaluationReport) -> list[tuple[str, str]]:
    """Where the numbers come from, as pairs (name, value)."""
    pairs = {
        "command": report.command,
        "model": report.model,
        "model sha256": report.model_sha256,
        "model's command": report.model_command,
        "trained on": in_words(report.model_data),
        "data set": report.dataset,
        "data set's origin": report.provenance,
        "a pruning ratio is a share of": BUDGETS[report.budget],
        "groups": words(report.groups),
        "machine": ", ".join(f"{key} {value}" for key, value in report.machine.items()),
    }
    return [(name, value or NOTHING) for name, value in pairs.items()]
