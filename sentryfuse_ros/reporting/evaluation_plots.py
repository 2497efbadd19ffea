"""The figures of an evaluation report, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import ParamSpec

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure

from ..evaluation.records import Confusion, MaskResult, Reliability
from .pages import percent
from .style import BY_MISSING, FAINT, FIGURE_STYLE, INK, plain

SHADES = "YlGnBu"
FEW = 10  # predictions; a share of fewer says little
WRITTEN_CLASSES = 12  # a matrix of up to this many classes has room for percentages below the counts
LETTER_IN = 0.075  # width of a letter of the usual size [in]
AXES_HEIGHT_PT, LABEL_APART_PT = 265, 10  # of the figure of accuracy against FLOPs


P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorator: run a drawing function with the style of all figures."""

    @wraps(draw)
    def run(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(FIGURE_STYLE):
            return draw(*args, **kwargs)

    return run


def missing_colour(missing: int) -> str:
    """The colour for a number of missing sensors."""
    return BY_MISSING[min(missing, len(BY_MISSING) - 1)]


def shade(value: float, low: float, high: float) -> tuple[tuple[float, ...], str]:
    """Colour (red, green, blue in 0..1) of a cell, and the colour of text that is legible on it."""
    rgb = np.array(colormaps[SHADES](0.08 + 0.8 * np.clip((value - low) / max(high - low, 1e-9), 0, 1))[:3])
    return tuple(rgb.tolist()), INK if rgb @ (0.299, 0.587, 0.114) > 0.55 else "white"


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Places of labels, moved as little as possible in their order so that each is ``apart`` from the next."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[tuple[float, int]] = []  # middle of labels that touch, and how many they are
    for i in order:
        middle, count = places[i], 1
        while groups and middle - groups[-1][0] < apart * (count + groups[-1][1]) / 2:
            before, others = groups.pop()
            middle, count = (middle * count + before * others) / (count + others), count + others
        groups.append((middle, count))
    moved = [middle + apart * (k - (count - 1) / 2) for middle, count in groups for k in range(count)]
    return [place for _, place in sorted(zip(order, moved, strict=True))]


@styled
def accuracy_heat_map(rows: Sequence[MaskResult], levels: Sequence[float]) -> Figure:
    """Accuracy in percent, one line per mask, one column per ratio."""
    at = {(row.mask, row.ratio): row.accuracy for row in rows}
    live = {row.mask: " + ".join(row.live) for row in rows}
    known = [value for value in at.values() if value is not None]
    low, high = np.percentile(known, 10), max(known)  # a few bad cells must not level all others
    names_in = max(2.2, LETTER_IN * max(map(len, live.values())))  # room for the names of many sensors
    figure = Figure(figsize=(1.0 + names_in + 0.62 * len(levels), 1.1 + 0.36 * len(live)), constrained_layout=True)
    axis = figure.subplots()
    gap, y, ticks = 0.18, 0.0, []
    for i, mask in enumerate(live):
        if i and mask.count("0") != list(live)[i - 1].count("0"):
            y += gap
        for j, level in enumerate(levels):
            value = at[mask, level]
            colour, ink = ("none", INK) if value is None else shade(value, low, high)
            axis.bar(j, 0.96, 0.96, y - 0.48, color=colour)
            axis.text(j, y, percent(value), ha="center", va="center", color=ink)
        ticks.append(y)
        y += 1
    axis.set_yticks(ticks)
    axis.set_yticklabels([plain(name) for name in live.values()])
    axis.set_xticks(range(len(levels)))
    axis.set_xticklabels([f"{level:g}" for level in levels])
    axis.set_xlim(-0.55, len(levels) - 0.45)
    axis.set_ylim(y - 0.45, -0.55)
    axis.set_xlabel("pruning ratio")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure


@styled
def accuracy_by_flops(rows: Sequence[MaskResult], names: Mapping[int, str]) -> Figure:
    """Accuracy against FLOPs: thin lines for masks, bold lines for the mean over masks with equally many sensors missing."""
    figure = Figure(figsize=(8.6, 4.6), constrained_layout=True)
    axis = figure.subplots()
    levels = sorted({row.ratio for row in rows})
    singles: list[tuple[str, tuple[float, float], str]] = []  # name, end of the line, colour
    for missing, name in names.items():
        # Mask, live sensors, ratio, MFLOPs and accuracy [%] of the judged rows.
        mine = [
            (row.mask, row.live, row.ratio, row.flops / 1e6, 100 * row.accuracy)
            for row in rows
            if row.missing == missing and row.accuracy is not None
        ]
        masks = dict((mask, live) for mask, live, *_ in mine)
        colour = missing_colour(missing)
        if len(masks) > 1:
            for mask, live in masks.items():
                line = sorted((mflops, percents) for one, _, _, mflops, percents in mine if one == mask)
                axis.plot([x for x, _ in line], [y for _, y in line], color=colour, lw=0.9, alpha=0.45)
                if len(live) == 1:
                    singles.append((live[0], line[-1], colour))
        flops, accuracy = (
            [float(np.mean([row[column] for row in mine if row[2] == level])) for level in levels] for column in (3, 4)
        )
        axis.plot(flops, accuracy, "o-", color=colour, lw=2, ms=4, label=plain(name) + (" (mean)" if len(masks) > 1 else ""))
        if missing == 0:
            for i, shift in ((0, 7), (-1, -28)):  # the line rises steeply from the highest ratio on
                axis.annotate(
                    f"r = {levels[i]:g}",
                    (flops[i], accuracy[i]),
                    (0, shift),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8.5,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
                )
    axis.set_xlim(left=0)
    axis.margins(y=0.12)
    low, high = axis.get_ylim()
    pt_per_percent = AXES_HEIGHT_PT / (high - low)
    places_pt = spread([end[1] * pt_per_percent for _, end, _ in singles], LABEL_APART_PT)
    for (sensor, end, colour), place_pt in zip(singles, places_pt, strict=True):
        from_end = (5, place_pt - end[1] * pt_per_percent)
        axis.annotate(plain(sensor), end, from_end, textcoords="offset points", va="center", color=colour, fontsize=8)
    axis.set_xlabel("MFLOPs per prediction")
    axis.set_ylabel("accuracy [%]")
    axis.grid(alpha=0.2)
    axis.legend(frameon=False, loc="lower right")
    return figure


@styled
def confusion_matrix(confusion: Confusion, classes: Sequence[str]) -> Figure:
    """Counts, shaded by their share of the judged windows of the true class; rows are the truth."""
    counts = np.array(confusion.counts)
    total = counts.sum(1)
    size, few = len(classes), len(classes) <= WRITTEN_CLASSES
    cell = 0.62 if few else 0.3
    names_in = max(1.0, LETTER_IN * max(map(len, classes)))  # room for long names, which stand aslant below few classes
    figure = Figure(
        figsize=(0.7 + names_in + cell * size, 0.6 + (0.8 if few else 1) * names_in + cell * size), constrained_layout=True
    )
    axis = figure.subplots()
    axis.set_facecolor("#f4f6f7")
    for i in range(size):
        for j in range(size):
            if not counts[i, j]:
                continue
            colour, ink = shade(counts[i, j] / total[i], 0, 1)
            axis.bar(j, 0.96, 0.96, i - 0.48, color=colour)
            axis.text(
                j, i - 0.14 if few else i, str(counts[i, j]), ha="center", va="center", color=ink, fontsize=9 if few else 7.5
            )
            if few:
                axis.text(j, i + 0.22, f"{100 * counts[i, j] / total[i]:.0f}%", ha="center", va="center", color=ink, fontsize=7)
    names, font_size = [plain(name) for name in classes], 9 if few else 8
    axis.set_xticks(range(size))
    axis.set_yticks(range(size))
    axis.set_yticklabels(names, fontsize=font_size)
    if few:
        axis.set_xticklabels(names, fontsize=font_size, rotation=45, ha="right", rotation_mode="anchor")
    else:
        axis.set_xticklabels(names, fontsize=font_size, rotation=90)
    axis.set_xlim(-0.55, size - 0.45)
    axis.set_ylim(size - 0.45, -0.55)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.set_aspect("equal")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure


@styled
def calibration(groups: Sequence[Reliability]) -> Figure:
    """Left: accuracy by confidence. Right: mean confidence and accuracy by the number of sensors missing."""
    figure = Figure(figsize=(9.4, 4.3), constrained_layout=True)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})
    left.plot([0, 100], [0, 100], "--", color=FAINT, lw=1, label="perfect")
    for group in groups:
        colour, total = missing_colour(group.missing), sum(b.count for b in group.bins)
        name = group.name if group.ece is None else f"{group.name}, ECE {group.ece:.3f}"
        # The accuracy of a few predictions says little: such a bin is drawn pale, and no line goes through it.
        for many, alpha, label in ((False, 0.25, None), (True, 0.85, name)):
            bins = [b for b in group.bins if (b.count >= FEW) == many]
            confidence, accuracy = [100 * b.confidence for b in bins], [100 * b.accuracy for b in bins]
            sizes = [12 + 220 * b.count / total for b in bins]
            left.scatter(confidence, accuracy, sizes, color=colour, alpha=alpha, lw=0, label=label)
            if many:
                left.plot(confidence, accuracy, color=colour, lw=1.3, alpha=0.8)
    left.set_xlabel("confidence [%]")
    left.set_ylabel("accuracy [%]")
    left.set_xlim(0, 103)
    left.set_ylim(0, 103)
    left.set_aspect("equal")
    left.grid(alpha=0.2)
    legend = left.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2, fontsize=8.5)
    for handle in (legend.legendHandles if hasattr(legend, "legendHandles") else legend.legend_handles)[1:]:
        handle.set_sizes([30])
    x = np.arange(len(groups))
    for shares, shift, alpha in (
        ([group.accuracy for group in groups], -0.19, 1.0),
        ([group.confidence for group in groups], 0.19, 0.45),
    ):
        values = [100 * (share or 0.0) for share in shares]
        right.bar(x + shift, values, 0.36, color=[missing_colour(group.missing) for group in groups], alpha=alpha)
        for at, value in zip(x + shift, values):
            right.text(at, value + 1, f"{value:.1f}", ha="center", va="bottom", fontsize=8.5)
    right.set_xticks(x)
    right.set_xticklabels([group.name.replace(" ", "\n") for group in groups])
    right.set_ylim(0, 109)
    right.set_ylabel("%")
    right.set_title("accuracy (full colour) and mean confidence (pale)", fontsize=9.5)
    right.tick_params(axis="x", length=0)
    return figure
