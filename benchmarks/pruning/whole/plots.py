"""The study with the budget over the whole network in one picture: gains beside those of the first study, and accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sentryfuse_ros.reporting.style import BY_MISSING, FAINT, FIGURE_STYLE, INK

from ..tables import controls_shown, ranked_by
from .stages import RATIOS
from .tables import SIDES

COLOURS = dict(zip(SIDES, (FAINT, BY_MISSING[1], BY_MISSING[0], BY_MISSING[3])))
SHOWN_CONTROLS = 4  # colours that the second panel has


def network_picture(report: Mapping[str, Any]) -> Figure:
    """Left: relative gain over the strongest criterion by ratio and kind of budget; bands reach from the lowest to the highest
    seed. Right: mean accuracy by ratio, of ours and of the strongest criteria."""
    with rc_context(FIGURE_STYLE):
        figure = Figure(figsize=(10.5, 4.6), constrained_layout=True)
        left, right = figure.subplots(1, 2)
        _gains(left, report)
        _accuracies(right, report)
        for panel in (left, right):
            panel.set_xlabel("pruning ratio r")
            panel.grid(axis="y", color=FAINT, alpha=0.3)
            if panel.lines:
                panel.legend(loc="upper left" if panel is left else "lower left", frameon=False, fontsize=8)
    return figure


def save_network_picture(report: Mapping[str, Any], folder: Path) -> None:
    """As PNG, beside the page that shows it."""
    with rc_context(FIGURE_STYLE):
        network_picture(report).savefig(folder / "network_budget.png", dpi=110)


def _gains(panel: Axes, report: Mapping[str, Any]) -> None:
    panel.axhline(0, color=INK, linewidth=1)
    for side, words in SIDES.items():
        found = report["gains"][side]
        rows = {ratio: found[f"r{ratio:g}"] for ratio in RATIOS if found.get(f"r{ratio:g}")}
        if not rows:
            continue
        panel.plot(
            list(rows), [100 * row["value"] for row in rows.values()], "o-", color=COLOURS[side], label=words, markersize=4
        )
        seeds = [[100 * value for value in row["by_seed"].values()] for row in rows.values()]
        if all(seeds):
            low, high = [min(s) for s in seeds], [max(s) for s in seeds]
            panel.fill_between(list(rows), low, high, color=COLOURS[side], alpha=0.15, linewidth=0)
    panel.set_ylabel("relative gain over the strongest criterion, %")


def _accuracies(panel: Axes, report: Mapping[str, Any]) -> None:
    rows = [row for row in controls_shown(report["plans"]) if row["variant"] in ("normal", "joint")][:SHOWN_CONTROLS]
    if not report["combinations"]:
        return
    ours = [np.mean([line["ours"] for line in report["combinations"] if line["ratio"] == r]) for r in RATIOS]
    panel.plot(RATIOS, 100 * np.array(ours), "o-", color=BY_MISSING[0], label="ours", markersize=4)
    for row, colour in zip(rows, (BY_MISSING[3], BY_MISSING[2], BY_MISSING[1], FAINT)):
        training = "normal training" if row["variant"] == "normal" else "our training"
        values = [100 * row["by_ratio"][str(r)]["accuracy"] for r in RATIOS]
        panel.plot(RATIOS, values, "o--", color=colour, label=f"{training}, {ranked_by(row)}", markersize=4)
    panel.set_ylabel("accuracy, %")
