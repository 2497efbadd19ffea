"""The study in two pictures: accuracy over the pruning ratio by task and backbone, and ours beside the controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sentryfuse_ros.reporting.style import BY_MISSING, FAINT, FIGURE_STYLE, INK

from .conditions import RATIOS
from .tables import controls_shown, ranked_by

Line = Mapping[str, Any]  # one combination of the report


class Curve(NamedTuple):
    """One curve of a panel."""

    label: str
    colour: str
    style: str
    pruned: Callable[[Line], float]  # the accuracy in a combination
    dense: str  # the combination's key for the accuracy at r = 0

    def at(self, lines: Sequence[Line], ratio: float) -> float:
        """Mean accuracy over the combinations of one ratio; those of r = 0 are the same in all."""
        values = [self.pruned(line) if ratio else line[self.dense] for line in lines]
        return float(np.mean(values))


CURVES = (
    Curve("ours", BY_MISSING[0], "-", lambda line: line["ours"], "dense_ours"),
    Curve("our training, Taylor", BY_MISSING[1], "--", lambda line: line["joint"]["taylor"], "dense_ours"),
    Curve("normal training, strongest baseline", BY_MISSING[3], "-", lambda line: line["strongest"], "dense_normal"),
    Curve("normal training, random", FAINT, ":", lambda line: line["normal"]["random"], "dense_normal"),
)
BANDS = ("ours", "normal training, strongest baseline")
SHOWN_RATIOS = ((0.5, FAINT), (0.8, BY_MISSING[0]))  # in the picture of the controls


def picture(report: Mapping[str, Any]) -> Figure:
    """One panel per task (row) and backbone (column). Points are means over the conditions; bands reach from the lowest to the
    highest seed."""
    lines = report["combinations"]
    tasks, backbones = (list(dict.fromkeys(line[k] for line in lines)) for k in ("task", "backbone"))
    with rc_context(FIGURE_STYLE):
        figure = Figure(figsize=(max(6.4, 3.2 * len(backbones)), 0.6 + 2.5 * max(len(tasks), 1)), constrained_layout=True)
        panels = figure.subplots(max(len(tasks), 1), max(len(backbones), 1), squeeze=False, sharex=True, sharey="row")
        for row, task in zip(panels, tasks):
            for panel, backbone in zip(row, backbones):
                here = [x for x in lines if (x["task"], x["backbone"]) == (task, backbone)]
                _panel(panel, here)
                panel.set_title(f"{task}, {backbone.replace('_', '-')}", fontsize=10)
        for panel in panels[-1]:
            panel.set_xlabel("pruning ratio r")
        for panel in panels[:, 0]:
            panel.set_ylabel("accuracy, %")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def controls_picture(report: Mapping[str, Any]) -> Figure:
    """Points that ours is ahead of every control, at two ratios, over all backbones and over the one that all controls have.

    A line reaches from the mean of the lowest seed to that of the highest."""
    sides = [("all backbones", report["plans"]), (f"{report['explained_on']} alone", report["plans_explained"])]
    sides = [(title, {control_name(row): row for row in controls_shown(plans)}) for title, plans in sides if plans]
    names = list(dict.fromkeys(name for _, rows in sides for name in rows))[::-1]
    with rc_context(FIGURE_STYLE):
        figure = Figure(figsize=(5.0 + 3.6 * len(sides), 1.4 + 0.36 * len(names)), constrained_layout=True)
        panels = figure.subplots(1, max(len(sides), 1), squeeze=False, sharex=True, sharey=True)[0]
        for panel, (title, rows) in zip(panels, sides):
            _controls_panel(panel, [(names.index(name), row) for name, row in rows.items()])
            panel.set_title(title, fontsize=10)
            panel.set_xlabel("points of accuracy that ours is ahead")
        panels[0].set_yticks(range(len(names)), names)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def control_name(row: Mapping[str, Any]) -> str:
    """A control in the picture: the training, and what ranks."""
    return f"{row['variant'].replace('_', ' ')}: {ranked_by(row).split(' (')[0]}"


def save_pictures(report: Mapping[str, Any], folder: Path) -> None:
    """Both as PNG, beside the page that shows them."""
    with rc_context(FIGURE_STYLE):
        for name, draw in (("pruning.png", picture), ("pruning_controls.png", controls_picture)):
            draw(report).savefig(folder / name, dpi=110)


def _panel(panel: Axes, lines: Sequence[Line]) -> None:
    ratios = (0, *RATIOS)
    by_ratio = {r: [line for line in lines if line["ratio"] == (r or RATIOS[0])] for r in ratios}
    for curve in CURVES if lines else ():
        values = [100 * curve.at(by_ratio[r], r) for r in ratios]
        panel.plot(ratios, values, curve.style, color=curve.colour, label=curve.label, marker="o", markersize=3)
        if curve.label in BANDS:
            each = [
                [100 * curve.at([line["by_seed"][s] for line in by_ratio[r]], r) for r in ratios] for s in lines[0]["by_seed"]
            ]
            panel.fill_between(ratios, np.min(each, 0), np.max(each, 0), color=curve.colour, alpha=0.15, linewidth=0)
    panel.set_xticks(ratios, [f"{r:g}" for r in ratios])
    panel.grid(axis="y", color=FAINT, alpha=0.3)


def _controls_panel(panel: Axes, rows: list[tuple[int, Mapping[str, Any]]]) -> None:
    panel.axvline(0, color=INK, linewidth=1)
    at = [place for place, _ in rows]
    means = [list(row["by_seed"].values()) or [row["points"]] for _, row in rows]
    panel.hlines(
        at,
        [min(m) for m in means],
        [max(m) for m in means],
        color=BY_MISSING[1],
        linewidth=6,
        alpha=0.4,
        capstyle="round",
        label="mean over r > 0, lowest to highest seed",
    )
    for ratio, colour in SHOWN_RATIOS:
        panel.plot([row["by_ratio"][str(ratio)]["points"] for _, row in rows], at, "o", color=colour, label=f"r = {ratio:g}")
    panel.grid(axis="x", color=FAINT, alpha=0.3)
