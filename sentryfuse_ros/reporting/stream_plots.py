"""The panels of a run's drawing that show a camera's stream: tokens and branch, and the time of an inference beside them."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ..replay.run_record import RunRecord
from ..replay.stream_scores import streamed_predictions
from .run_curves import title
from .style import BLUE, BRANCH_COLOURS, INK, PALE

RUNNING = 9  # predictions whose median is drawn as a line


def tokens_panel(axis: Axes, record: RunRecord) -> None:
    """A bar for every prediction, coloured by branch; a strip below shows the branch where nothing is encoded, too."""
    pairs = streamed_predictions(record)
    times = np.array([p.t_s for p, _ in pairs])
    tokens = np.array([100 * stream.tokens for _, stream in pairs])
    colours = [BRANCH_COLOURS[stream.branch].figure for _, stream in pairs]
    width = float(np.median(np.diff(times))) if len(times) > 1 else 0.1
    top = 1.35 * max(float(np.percentile(tokens, 97)), 5.0)
    title(axis, "Tokens of the camera's picture that were encoded anew, by branch")
    axis.bar(times, np.minimum(tokens, top), width, color=colours, lw=0, align="edge")
    axis.bar(times, -0.11 * top, width, color=colours, lw=0, align="edge")
    for t, value in zip(times[tokens > top], tokens[tokens > top]):
        axis.text(t + width / 2, 0.99 * top, f" {value:.0f} %", fontsize=8, va="top", color=INK)
    axis.set_ylim(-0.11 * top, top)
    axis.set_yticks([tick for tick in axis.get_yticks() if 0 <= tick <= top])
    axis.set_ylabel("% of tokens")
    axis.legend(
        handles=[Patch(color=colour.figure, label=name) for name, colour in BRANCH_COLOURS.items()],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=3,
        frameon=False,
        fontsize=8.5,
        borderaxespad=0.1,
    )


def inference_panel(axis: Axes, record: RunRecord) -> None:
    """The time of every inference, and a running median."""
    valid = [p for p in record.predictions if p.valid and math.isfinite(p.inference_ms)]
    times, took_ms = np.array([p.t_s for p in valid]), np.array([p.inference_ms for p in valid])
    title(axis, f"Time of an inference (line: median of {RUNNING})")
    axis.plot(times, took_ms, "o", ms=2.2, mew=0, color=PALE)
    if len(took_ms) >= RUNNING:
        middle = np.median(np.lib.stride_tricks.sliding_window_view(took_ms, RUNNING), axis=1)
        axis.plot(times[RUNNING // 2 : RUNNING // 2 + len(middle)], middle, color=BLUE, lw=1.6)
    axis.set_ylim(0, 1.6 * float(np.percentile(took_ms, 90)) if len(took_ms) else 1.0)
    axis.set_ylabel("ms")
