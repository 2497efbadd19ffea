"""The benchmark in two pictures: accuracy over the pruning ratio per application and backbone, and ours beside the controls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from sentryfuse_ros.reporting.style import BY_MISSING, FAINT, FIGURE_STYLE, INK

from .conditions import RATIOS
from .tables import controls_shown, ranked_by

# label, colour, line style, accuracy of a line of the report, and at r = 0; both by seed too where a line has them
CURVES = (
    ("ours", BY_MISSING[0], "-", lambda line: line["ours"], "dense_ours"),
    ("our training, Taylor", BY_MISSING[1], "--", lambda line: line["joint"]["taylor"], "dense_ours"),
    ("normal training, strongest baseline", BY_MISSING[3], "-", lambda line: line["strongest"], "dense_normal"),
    ("normal training, random", FAINT, ":", lambda line: line["normal"]["random"], "dense_normal"),
)
BANDS = ("ours", "normal training, strongest baseline")
SHOWN_RATIOS = ((0.5, FAINT), (0.8, BY_MISSING[0]))  # in the picture of the controls


def picture(report: Mapping[str, Any]) -> Figure:
    """One panel per application (row) and backbone (column); each point is the mean over the conditions, bands reach from the
    lowest to the highest seed."""
    lines = report["combinations"]
    applications, backbones = (list(dict.fromkeys(line[k] for line in lines)) for k in ("application", "backbone"))
    with rc_context(FIGURE_STYLE):
        figure = Figure(figsize=(max(6.4, 3.2 * len(backbones)), 0.6 + 2.5 * max(len(applications), 1)), constrained_layout=True)
        panels = figure.subplots(max(len(applications), 1), max(len(backbones), 1), squeeze=False, sharex=True, sharey="row")
        for row, application in zip(panels, applications):
            for panel, backbone in zip(row, backbones):
                here = [x for x in lines if (x["application"], x["backbone"]) == (application, backbone)]
                _panel(panel, here)
                panel.set_title(f"{application}, {backbone.replace('_', '-')}", fontsize=10)
        for panel in panels[-1]:
            panel.set_xlabel("pruning ratio r")
        for panel in panels[:, 0]:
            panel.set_ylabel("accuracy, %")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def controls_picture(report: Mapping[str, Any]) -> Figure:
    """Points that ours is ahead of every control, at two ratios, on all nets and on those of the backbone that all controls
    have; a line reaches from the lowest to the highest seed's mean."""
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


def _panel(panel: Any, lines: list[Mapping[str, Any]]) -> None:
    ratios = (0, *RATIOS)
    for label, colour, style, value, dense in CURVES if lines else ():

        def at(ratio: float, of: Any = lambda line: line, value: Any = value, dense: str = dense) -> float:
            return float(np.mean([value(of(x)) if ratio else of(x)[dense] for x in lines if x["ratio"] == (ratio or RATIOS[0])]))

        panel.plot(ratios, [100 * at(r) for r in ratios], style, color=colour, label=label, marker="o", markersize=3)
        if label in BANDS:
            seeds = lines[0]["by_seed"]
            each = 100 * np.array([[at(r, lambda line, s=s: line["by_seed"][s]) for r in ratios] for s in seeds])
            panel.fill_between(ratios, each.min(0), each.max(0), color=colour, alpha=0.15, linewidth=0)
    panel.set_xticks(ratios, [f"{r:g}" for r in ratios])
    panel.grid(axis="y", color=FAINT, alpha=0.3)


def _controls_panel(panel: Any, rows: list[tuple[int, Mapping[str, Any]]]) -> None:
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
