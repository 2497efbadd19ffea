"""The benchmark in one picture: accuracy over the pruning ratio, per application and backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ..evaluation.plots import BY_MISSING, FAINT, STYLE
from .conditions import RATIOS

# label, colour, line style, accuracy of a line of the report
CURVES = (
    ("ours", BY_MISSING[0], "-", lambda line: line["ours"], "dense_ours"),
    ("our training, Taylor", BY_MISSING[1], "--", lambda line: line["joint"]["taylor"], "dense_ours"),
    ("normal training, strongest baseline", BY_MISSING[3], "-", lambda line: line["strongest"], "dense_normal"),
    ("normal training, random", FAINT, ":", lambda line: line["normal"]["random"], "dense_normal"),
)


def picture(report: Mapping[str, Any]) -> Figure:
    """One panel per application (row) and backbone (column); each point is the mean over the conditions."""
    lines = report["combinations"]
    applications, backbones = (list(dict.fromkeys(line[k] for line in lines)) for k in ("application", "backbone"))
    with rc_context(STYLE):
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


def save_picture(report: Mapping[str, Any], path: Path) -> None:
    """The picture as a PNG."""
    with rc_context(STYLE):
        picture(report).savefig(path, dpi=110)


def _panel(panel: Any, lines: list[Mapping[str, Any]]) -> None:
    for label, colour, style, value, dense in CURVES if lines else ():
        points = [np.mean([x[dense] for x in lines])]
        points += [np.mean([value(x) for x in lines if x["ratio"] == r]) for r in RATIOS]
        panel.plot((0, *RATIOS), 100 * np.array(points), style, color=colour, label=label, marker="o", markersize=3)
    panel.set_xticks((0, *RATIOS), [f"{r:g}" for r in (0, *RATIOS)])
    panel.grid(axis="y", color=FAINT, alpha=0.3)
