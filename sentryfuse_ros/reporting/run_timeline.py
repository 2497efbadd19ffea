"""A run as a table (CSV) and as one picture: sensor states, prediction and confidence, battery and ratio, latency."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..masks import mask_to_bits
from ..replay.faults import FaultScript
from ..replay.judge import PredictionRow, StatusRow

STATE_COLOURS = {
    "NEVER_SEEN": "#d9d9d9",
    "OK": "#3a9b57",
    "LATE": "#e3b505",
    "STALE": "#d1495b",
    "FROZEN": "#9b5de5",
    "INVALID": "#7f1d1d",
    "RECOVERING": "#4ea8de",
}


def stretches(values: Sequence) -> Iterator[tuple[int, int, Any]]:
    """(first, past the last, value) of every run of equal values."""
    first = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[first]:
            yield first, i, values[first]
            first = i


def write_timeline(
    path: Path,
    predictions: Sequence[PredictionRow],
    statuses: Sequence[StatusRow],
    script: FaultScript,
    battery_percent: Callable[[float], float] | None = None,
    label_at: Callable[[float], str] | None = None,
) -> None:
    """One row per prediction, the sensors' states at the same tick beside it.

    ``battery_percent`` and ``label_at`` take a time [s]; without them the script's curve is the battery, and there is no truth.
    """
    battery_percent = battery_percent or script.battery_percent
    names = sorted({name for row in statuses for name in row.states})
    by_time = {round(row.t_s, 6): row.states for row in statuses}
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(
            [
                "t_s",
                "valid",
                "class_name",
                "confidence",
                "mask",
                "ratio",
                "battery_percent",
                "inference_ms",
                "latency_ms",
                "overhead_ms",
                "sequence",
                "reason",
                *(["truth"] if label_at else []),
                *[f"{n}_state" for n in names],
                *[f"{n}_rate_hz" for n in names],
            ]
        )
        for p in predictions:
            states = by_time.get(round(p.t_s, 6), {})
            battery = battery_percent(p.t_s)
            out.writerow(
                [
                    f"{p.t_s:.3f}",
                    int(p.valid),
                    p.class_name,
                    f"{p.confidence:.3f}",
                    mask_to_bits(p.mask),
                    f"{p.ratio:.3f}",
                    "" if battery != battery else f"{battery:.1f}",
                    f"{p.inference_ms:.2f}",
                    f"{p.latency_ms:.2f}",
                    f"{p.overhead_ms:.2f}",
                    p.sequence,
                    p.reason,
                    *([label_at(p.t_s)] if label_at else []),
                    *[states.get(n, ("",))[0] for n in names],
                    *[f"{states[n][1]:.1f}" if n in states else "" for n in names],
                ]
            )


def draw_timeline(
    path: Path,
    predictions: Sequence[PredictionRow],
    statuses: Sequence[StatusRow],
    script: FaultScript,
    end_s: float,
    battery_percent: Callable[[float], float] | None = None,
) -> None:
    """PNG of the whole run. ``battery_percent`` takes a time [s]; without it the script's curve is the battery."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    names = sorted(
        {name for row in statuses for name in row.states},
        key=lambda n: all(r.states.get(n, ("NEVER_SEEN",))[0] == "NEVER_SEEN" for r in statuses),
    )
    figure, (top, middle, power, late) = plt.subplots(
        4,
        1,
        figsize=(12, 9),
        sharex=True,
        constrained_layout=True,
        gridspec_kw={"height_ratios": [0.5 + 0.45 * max(len(names), 1), 3, 2, 1.6]},  # Humble's matplotlib lacks the short form
    )
    draw_states(top, names, statuses, script, end_s)
    draw_predictions(middle, predictions)
    power.plot(
        [p.t_s for p in predictions],
        [p.ratio for p in predictions],
        color="#1d3557",
        drawstyle="steps-post",
        label="pruning ratio in force",
    )
    power.set_ylim(-0.03, 0.95)
    power.set_ylabel("pruning ratio")
    percents = [(battery_percent or script.battery_percent)(p.t_s) for p in predictions]
    if not all(map(math.isnan, percents)):
        battery = power.twinx()
        battery.plot([p.t_s for p in predictions], percents, color="#e07a1f", label="battery")
        battery.set_ylim(0, 105)
        battery.set_ylabel("battery [%]", color="#e07a1f")
    valid = [p for p in predictions if p.valid]
    late.plot([p.t_s for p in valid], [p.inference_ms for p in valid], ".", ms=4, color="#1d3557", label="inference")
    late.plot(
        [p.t_s for p in valid],
        [p.overhead_ms for p in valid],
        ".",
        ms=4,
        color="#d1495b",
        label="sample to publication, beyond inference",
    )
    late.set_ylabel("ms")
    late.set_ylim(bottom=min(0, *[p.overhead_ms for p in valid]) if valid else 0)
    late.legend(loc="upper right", fontsize=8, ncols=2)
    late.set_xlabel("time in the recording [s]")
    top.legend(
        handles=[Patch(color=c, label=s) for s, c in STATE_COLOURS.items()],
        ncols=len(STATE_COLOURS),
        fontsize=8,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        frameon=False,
    )
    for axis in (middle, power, late):
        axis.grid(alpha=0.25)
        for fault in script.faults:
            axis.axvspan(fault.from_s, min(fault.to_s, end_s), color="#888888", alpha=0.10, lw=0)
    top.set_xlim(0, max(end_s, 0.1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_states(axis, names, statuses, script, end_s) -> None:
    for row, name in enumerate(reversed(names)):
        times = [s.t_s for s in statuses] + [end_s]
        states = [s.states.get(name, ("NEVER_SEEN",))[0] for s in statuses]
        for i, j, state in stretches(states):
            axis.barh(row, times[j] - times[i], left=times[i], height=0.62, color=STATE_COLOURS[state])
        for fault in script.faults:
            if fault.sensor == name and fault.from_s < end_s:
                to_s = min(fault.to_s, end_s)
                axis.plot([fault.from_s, to_s], [row + 0.4] * 2, color="black", lw=2, solid_capstyle="butt")
                axis.text((fault.from_s + to_s) / 2, row + 0.42, fault.kind, ha="center", va="bottom", fontsize=8)
    axis.set_yticks(range(len(names)), list(reversed(names)))
    axis.set_ylim(-0.5, max(len(names), 1) - 0.15)
    axis.spines[["top", "right"]].set_visible(False)


def draw_predictions(axis, predictions) -> None:
    import matplotlib

    valid = [p for p in predictions if p.valid]
    palette = matplotlib.colormaps["tab20"]
    classes = sorted({p.class_name for p in valid})
    axis.plot(
        [p.t_s for p in predictions], [p.confidence if p.valid else float("nan") for p in predictions], color="#bbbbbb", lw=1
    )
    for i, name in enumerate(classes):
        rows = [p for p in valid if p.class_name == name]
        axis.plot([p.t_s for p in rows], [p.confidence for p in rows], ".", ms=8, color=palette(i % 20))
    # Name the runs that last, above their points: the picture should read without a legend of 27 classes.
    for i, j, name in stretches([p.class_name for p in valid]):
        run = valid[i:j]
        if len(run) >= 4:
            axis.text(
                run[len(run) // 2].t_s,
                min(1.02, max(p.confidence for p in run) + 0.05),
                name,
                fontsize=8,
                ha="center",
                color=palette(classes.index(name) % 20),
            )
    blind = [p for p in predictions if not p.valid]
    axis.plot([p.t_s for p in blind], [0.0] * len(blind), "x", color="#d1495b", ms=5)
    axis.set_ylim(-0.05, 1.12)
    axis.set_ylabel("prediction, confidence\n(x: no live sensor)")
