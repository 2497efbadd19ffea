"""A run as one drawing: pictures, truth and prediction, sensors, battery and ratio, cost and time, on one time axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..files import replacing
from ..replay.run_record import PredictionRow, RunRecord
from ..replay.scores import is_correct
from .run_curves import confidence_panel, cost_panel, power_panel, time_panel, title
from .stream_plots import inference_panel, tokens_panel
from .style import CLASS_COLOURS, FIGURE_STYLE, GREEN, INK, OTHER_CLASS, RED, STATE_COLOURS, plain
from .svg import svg_of

WIDTH_IN = 13.0
PICTURE_DPI = 120
FRAME_SLOTS = 15
FRAMES_HEIGHT_IN = 0.75
AXES_SHARE = 0.88  # of the figure's width; labels take the rest
STYLE = {**FIGURE_STYLE, "font.size": 9}
WORDS = {None: "", True: "correct", False: "wrong"}

T = TypeVar("T")


def frame_times(end_s: float) -> list[float]:
    """The times [s] at which pictures are shown: the middles of equal slots."""
    return [(i + 0.5) * end_s / FRAME_SLOTS for i in range(FRAME_SLOTS)]


def draw_run(record: RunRecord, picture: Path | None = None) -> Markup:
    """The drawing as an <svg> element; also written as a PNG to ``picture``."""
    panels: list[tuple[float, Callable[[Axes, RunRecord], None]]] = [  # height [in], drawing function
        (1.0 if record.labels is not None else 0.45, classes_panel),
        (1.4, confidence_panel),
        (0.35 + 0.42 * max(1, len(record.sensors())), sensors_panel),
        (1.5, power_panel),
        (1.3, time_panel),
    ]
    if record.power:
        panels.insert(-1, (1.0, cost_panel))
    if record.streams:
        panels[1:1] = [(1.5, tokens_panel), (1.1, inference_panel)]
    if record.frames:
        panels.insert(0, (FRAMES_HEIGHT_IN, frames_panel))
    heights = [height for height, _ in panels]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.28 * len(panels)), constrained_layout=True)
        # Humble's matplotlib lacks the short form of height_ratios.
        axes = figure.subplots(len(panels), 1, sharex=True, gridspec_kw={"height_ratios": heights})
        for axis, (_, draw) in zip(axes, panels):
            draw(axis, record)
            if draw not in (frames_panel, classes_panel, sensors_panel):
                axis.grid(axis="y", alpha=0.3, lw=0.6)
                shade_faults(axis, record)
        axes[-1].set_xlabel("time in the recording [s]")
        axes[-1].set_xlim(0, max(record.end_s, 0.1))
        if picture is not None:
            with replacing(picture) as file:
                figure.savefig(file, dpi=PICTURE_DPI, format="png")
    return svg_of(figure, "run", "the run over time")


def shade_faults(axis: Axes, record: RunRecord) -> None:
    """Grey while any fault is injected; where faults overlap, it is not darker."""
    edges = sorted((f.from_s, min(f.to_s, record.end_s)) for f in record.script.faults if f.from_s < record.end_s)
    merged: list[list[float]] = []
    for a, b in edges:
        if merged and a <= merged[-1][1]:
            merged[-1][1] = max(b, merged[-1][1])
        else:
            merged.append([a, b])
    for a, b in merged:
        axis.axvspan(a, b, color="#5c6b7a", alpha=0.09, lw=0)


def class_colours(record: RunRecord) -> dict[str, str]:
    """A colour for every class that was predicted or true; a class of a model with few classes has the same in every run.

    Of many classes, the most frequent ones get a colour of their own and the others are grey.
    """
    seconds: dict[str, float] = {}
    for a, b, name in [*tick_stretches(record, predicted_class), *(record.labels.seconds() if record.labels is not None else ())]:
        seconds[name] = seconds.get(name, 0.0) + b - a
    seconds.pop("", None)
    classes = list(record.model.classes)
    if not 0 < len(classes) <= len(CLASS_COLOURS) or set(seconds) - set(classes):
        classes = sorted(seconds, key=lambda name: (-seconds[name], name))[: len(CLASS_COLOURS)]
    own = dict(zip(classes, CLASS_COLOURS))
    return {
        name: own.get(name, OTHER_CLASS) for name in [*(c for c in classes if c in seconds), *sorted(set(seconds) - set(classes))]
    }


def predicted_class(prediction: PredictionRow) -> str:
    return prediction.class_name if prediction.valid else ""


def frames_panel(axis: Axes, record: RunRecord) -> None:
    title(axis, f"Recorded by {record.camera}; red frame: the picture did not reach the robot, or was damaged on the way")
    broken = [f for f in record.script.faults if f.sensor == record.camera]
    slot_s = record.end_s / FRAME_SLOTS
    slot_in = AXES_SHARE * WIDTH_IN / FRAME_SLOTS
    for frame in record.frames:
        rows, columns, _ = frame.pixels.shape
        # As wide as the slot or as high as the panel, whichever is smaller.
        width_in = min(slot_in * 0.94, FRAMES_HEIGHT_IN * columns / rows)
        height, width_s = width_in * rows / columns / FRAMES_HEIGHT_IN, width_in / slot_in * slot_s
        extent = (frame.at_s - width_s / 2, frame.at_s + width_s / 2, 0.5 - height / 2, 0.5 + height / 2)
        axis.imshow(frame.pixels, extent=extent, aspect="auto", interpolation="nearest")
        if any(f.active(frame.at_s) for f in broken):
            axis.add_patch(rectangle(extent, edgecolor=RED, facecolor="white", alpha=0.35, linewidth=0))
            axis.add_patch(rectangle(extent, edgecolor=RED, facecolor="none", linewidth=2))
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(axis="x", length=0)


def classes_panel(axis: Axes, record: RunRecord) -> None:
    colours = {"": "#ffffff", **class_colours(record)}
    predicted = tick_stretches(record, predicted_class)
    if record.labels is None:
        title(axis, "Prediction (white: none)")
        ribbon(axis, 0, predicted, colours, 0.8, True)
        axis.set_yticks([0], ["prediction"])
    else:
        title(axis, "Truth and prediction (white: none)")
        intervals = record.labels.seconds()
        truth = [(max(a, 0.0), min(b, record.end_s), label) for a, b, label in intervals if a < record.end_s and b > 0]
        ribbon(axis, 1.0, truth, colours, 0.8, True)
        ribbon(axis, 0.1, predicted, colours, 0.8, True)
        rows = {1.0: "truth", 0.1: "prediction"}
        verdicts = tick_stretches(record, lambda p: WORDS[is_correct(p, record.labels, record.model.classes)])
        if any(word for _, _, word in verdicts):  # none is judged where the model has no class for any label
            rows[-0.55] = "correct or wrong"
            ribbon(axis, -0.55, verdicts, {"": "#ffffff", "correct": GREEN, "wrong": RED}, 0.3, False)
        axis.set_yticks(list(rows), list(rows.values()))
        axis.set_ylim(-0.75 if -0.55 in rows else -0.35, 1.45)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(axis="both", length=0)
    shown = [(name, colour) for name, colour in colours.items() if name and colour != OTHER_CLASS]
    shown += [("other", OTHER_CLASS)] if OTHER_CLASS in colours.values() else []
    axis.legend(
        handles=[rectangle((0, 1, 0, 1), facecolor=colour, label=plain(name)) for name, colour in shown],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(CLASS_COLOURS) + 1,
        frameon=False,
        fontsize=8.5,
        borderaxespad=0.1,
        handlelength=1.2,
    )


def sensors_panel(axis: Axes, record: RunRecord) -> None:
    bars = "; black bars: injected faults, numbered as in the table" if record.script.faults else ""
    title(axis, f"Sensor states as the robot sees them (green: live){bars}")
    names = record.sensors()
    occurred = set()
    for row, name in enumerate(reversed(names)):
        times = [s.t_s for s in record.statuses] + [record.end_s]
        states = [s.of(name).state for s in record.statuses]
        occurred |= set(states)
        for i, j, state in stretches(states):
            axis.barh(row, times[j] - times[i], left=times[i], height=0.5, color=STATE_COLOURS[state].figure)
        for number, fault in enumerate(record.script.faults, 1):
            if fault.sensor == name and fault.from_s < record.end_s:
                to_s = min(fault.to_s, record.end_s)
                axis.plot([fault.from_s, to_s], [row + 0.33] * 2, color=INK, lw=3, solid_capstyle="butt")
                axis.text((fault.from_s + to_s) / 2, row + 0.38, f"{number} {fault.kind}", ha="center", va="bottom", fontsize=8)
    axis.set_yticks(range(len(names)), [name + " (none)" if record.is_silent(name) else name for name in reversed(names)])
    axis.set_ylim(-0.35, max(len(names), 1) - 0.15)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(axis="both", length=0)
    axis.legend(
        handles=[Patch(color=c.figure, label=s) for s, c in STATE_COLOURS.items() if s in occurred],
        ncols=len(STATE_COLOURS),
        fontsize=8.5,
        loc="upper left",
        bbox_to_anchor=(0, -0.02),
        frameon=False,
        borderaxespad=0,
    )


def ribbon(
    axis: Axes, row: float, parts: Sequence[tuple[float, float, str]], colours: Mapping[str, str], height: float, named: bool
) -> None:
    """Coloured bars (from_s, to_s, name); with ``named``, the name is written into those that are wide enough."""
    to_s = max((b for _, b, _ in parts), default=0.0)
    for a, b, name in parts:
        axis.barh(row, b - a, left=a, height=height, color=colours[name], edgecolor="white", linewidth=0.4)
        if named and name and b - a > 0.0095 * len(name) * to_s:
            axis.text(
                (a + b) / 2,
                row,
                plain(name),
                ha="center",
                va="center",
                fontsize=8.5,
                color="white" if darkness(colours[name]) > 0.5 else INK,
            )


def rectangle(extent: tuple[float, float, float, float], **look: Any) -> Rectangle:
    """A rectangle (left, right, bottom, top); ``look``: keywords of matplotlib's Rectangle."""
    left, right, bottom, top = extent
    return Rectangle((left, bottom), right - left, top - bottom, **look)


def darkness(colour: str) -> float:
    """0 white to 1 black, as the eye weighs red, green and blue (ITU-R BT.601)."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 1 - (0.299 * red + 0.587 * green + 0.114 * blue)


def stretches(values: Sequence[T]) -> Iterator[tuple[int, int, T]]:
    """(first, one past the last, value) of every run of equal values."""
    first = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[first]:
            yield first, i, values[first]
            first = i


def tick_stretches(record: RunRecord, value_of: Callable[[PredictionRow], str]) -> list[tuple[float, float, str]]:
    """(from_s, to_s, value) of every run of consecutive predictions that have the same value."""
    times = [p.t_s for p in record.predictions] + [record.end_s]
    return [(times[i], times[j], value) for i, j, value in stretches([value_of(p) for p in record.predictions])]
