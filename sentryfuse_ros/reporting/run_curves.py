"""The panels of a run's drawing that show curves: confidence, battery and ratio, computation, and time."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from ..replay.run_record import RunRecord
from ..replay.scores import is_correct
from .style import BLUE, GREEN, INK, ORANGE, PALE, RED


def title(axis: Axes, text: str) -> None:
    axis.set_title(text, loc="left", fontsize=9.5, fontweight="bold", pad=4)


def legend(axis: Axes) -> None:
    if axis.get_legend_handles_labels()[0]:
        axis.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=5,
            frameon=False,
            fontsize=8.5,
            borderaxespad=0.1,
            handletextpad=0.4,
            markerscale=2,
        )


def confidence_panel(axis: Axes, record: RunRecord) -> None:
    title(axis, "Confidence of the prediction")
    times = [p.t_s for p in record.predictions]
    axis.plot(times, [p.confidence if p.valid else np.nan for p in record.predictions], color=PALE, lw=1)
    for verdict, colour, name in ((True, GREEN, "correct"), (False, RED, "wrong"), (None, BLUE, "not judged")):
        rows = [p for p in record.predictions if p.valid and is_correct(p, record.labels, record.model.classes) is verdict]
        if rows:
            axis.plot(
                [p.t_s for p in rows],
                [p.confidence for p in rows],
                "o",
                ms=2.6,
                mew=0,
                color=colour,
                label=name if record.labels is not None else None,
            )
    silent = [p.t_s for p in record.predictions if not p.valid]
    if silent:
        axis.plot(silent, [0.0] * len(silent), "x", color=INK, ms=4, label="no prediction")
    axis.set_ylim(-0.06, 1.06)
    legend(axis)


def power_panel(axis: Axes, record: RunRecord) -> None:
    title(axis, "Battery charge, and the pruning ratio: the share of an inference that is to be saved")
    times = [p.t_s for p in record.predictions]
    axis.plot(times, [p.ratio for p in record.predictions], color=BLUE, drawstyle="steps-post", lw=1.8)
    axis.set_ylim(-0.03, 1.03)
    axis.set_ylabel("pruning ratio", color=BLUE)
    percents = [record.battery_percent(t) for t in times]
    if not all(map(math.isnan, percents)):
        battery = axis.twinx()
        battery.plot(times, percents, color=ORANGE, lw=1.8)
        battery.set_ylim(-3, 103)
        battery.set_ylabel("battery [%]", color=ORANGE)
        battery.spines["right"].set_visible(True)


def cost_panel(axis: Axes, record: RunRecord) -> None:
    title(axis, "Computation per prediction (dashed: all sensors, nothing pruned); it also falls with fewer sensors")
    times, flops = [p.t_s for p in record.power] + [record.end_s], [p.flops / 1e6 for p in record.power]
    # The dense model's differ where a stream took several pictures at once, or none, and count nothing without a prediction.
    dense = [p.flops_dense / 1e6 if p.flops else math.nan for p in record.power]
    axis.plot(times, dense + dense[-1:], color=PALE, drawstyle="steps-post", lw=1.2, ls="--")
    axis.plot(times, flops + flops[-1:], color=BLUE, drawstyle="steps-post", lw=1.8)
    usual = float(np.median([d for d in dense if not math.isnan(d)] or [0.0]))
    axis.set_ylim(0, max(usual, *flops) * 1.12 + 1e-9)
    axis.set_ylabel("MFLOPs")


def time_panel(axis: Axes, record: RunRecord) -> None:
    valid = [p for p in record.predictions if p.valid and math.isfinite(p.inference_ms) and math.isfinite(p.overhead_ms)]
    highest = f" (highest {max(max(p.inference_ms, p.overhead_ms) for p in valid):.1f} ms)" if valid else ""
    title(axis, "Time per prediction" + highest)
    times = [p.t_s for p in valid]
    for values, colour, name in (
        ([p.inference_ms for p in valid], BLUE, "inference"),
        (
            [p.overhead_ms for p in valid],
            ORANGE,
            "overhead: from the arrival of the newest sample to publication, less inference",
        ),
    ):
        axis.plot(times, values, "o", ms=2.6, mew=0, color=colour, label=name)
    top = np.percentile([v for p in valid for v in (p.inference_ms, p.overhead_ms)], 99.5) if valid else 1.0
    axis.set_ylim(min([0.0] + [p.overhead_ms for p in valid]), 1.25 * float(top) + 0.1)
    axis.set_ylabel("ms")
    legend(axis)
