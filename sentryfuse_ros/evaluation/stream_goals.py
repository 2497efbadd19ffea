"""What streams have to reach, and whether a model does: the rows of the table that `sentryfuse bench streaming` ends with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _times(value: float) -> str:
    return f"{value:.2f}"


def _points(value: float) -> str:
    return f"{value:.1f}" if value > 0 else "none"


def _short(number: str) -> str:
    """ "70.0 %" -> "70 %": a limit without the zeros behind it."""
    return re.sub(r"\.?0+(?= |$)", "", number) if "." in number else number


class Goal(NamedTuple):
    """One figure of a model's summary and the limit that is set for it."""

    measure: str
    key: str  # of the summary; {tokens} stands for the patches of one of the model's pictures
    limits: Mapping[int, float]  # by the patches of a picture; under 0 for every other number
    shown: Callable[[float], str]
    at_most: bool = False

    def limit(self, tokens: int) -> float | None:
        """For a model whose pictures have so many patches; None where nothing is wanted of it."""
        return self.limits.get(tokens, self.limits.get(0))

    def met(self, value: float, tokens: int) -> bool | None:
        """Whether a model's figure is within its limit; None without a limit."""
        limit = self.limit(tokens)
        if limit is None:
            return None
        return value <= limit if self.at_most else value >= limit

    def in_words(self) -> str:
        """The limits, "" without one."""
        direction = "at most" if self.at_most else "at least"
        words = [
            _short(self.shown(limit)) + (f" with {tokens} tokens" if tokens else "") for tokens, limit in self.limits.items()
        ]
        return f"{direction} {', '.join(words)}" if words else ""


NOT_SLOWER = 1 / 1.05  # a stream of a moving camera takes at most 5 % longer
GOALS = (
    Goal("accuracy on depth alone, every picture whole", "accuracy_plain", {0: 0.7}, _percent),
    Goal("tokens not encoded, camera still", "sttf_token_reduction", {0: 0.88}, _percent),
    Goal("accuracy kept", "sttf_accuracy_kept", {0: 0.98}, _share),
    Goal("accuracy kept, lower bound", "sttf_accuracy_kept_low", {0: 0.956}, _share),
    Goal("encoder, dense over stream", "sttf_latency_ratio_{tokens}", {196: 2.8, 1200: 5.0}, _times),
    Goal("whole model, dense over stream", "sttf_latency_ratio_{tokens}_whole_model", {}, _times),
    Goal("global attention over stream", "sttf_latency_ratio_{tokens}_vs_global", {1200: 10.0}, _times),
    Goal("router: camera FLOPs saved in low motion", "anc_flops_reduction_low_motion", {0: 0.95}, _percent),
    Goal("router: points lost", "anc_accuracy_loss_points", {0: 1.0}, _points, at_most=True),
    Goal("router: switches a second, standing still", "anc_switches_per_s_steady", {0: 0.2}, _times, at_most=True),
    Goal("router: switches a second, whole recordings", "anc_switches_per_s", {0: 1.0}, _times, at_most=True),
    Goal("moving camera: dense over stream, with a gyro", "moving_camera_latency_ratio", {0: NOT_SLOWER}, _share),
    Goal("moving camera: dense over stream, with a vote", "moving_camera_latency_ratio_vote", {0: NOT_SLOWER}, _share),
    Goal("moving camera: most points lost, with a gyro", "moving_camera_accuracy_loss_points", {0: 0.5}, _points, at_most=True),
    Goal(
        "moving camera: most points lost, with a vote",
        "moving_camera_accuracy_loss_points_vote",
        {0: 0.5},
        _points,
        at_most=True,
    ),
    Goal("together: whole model, dense over stream", "together_latency_ratio", {0: 8.0}, _times),
    Goal("together: points lost", "together_accuracy_loss_points", {0: 3.0}, _points, at_most=True),
    Goal("together: a tick, no stream over stream, nobody there", "together_tick_ratio_nobody", {}, _times),
    Goal("together: a tick, no stream over stream, somebody there", "together_tick_ratio_somebody", {}, _times),
)


def judged(summaries: Mapping[str, Mapping[str, float]], tokens: Mapping[str, int]) -> list[dict[str, Any]]:
    """Every goal with what each model reached (in words) and whether that meets it (None: nothing is wanted, or not measured).

    summaries, tokens: by model, its summary and the patches of one of its pictures.
    """
    rows = []
    for goal in GOALS:
        reached: dict[str, str] = {}
        met: dict[str, bool | None] = {}
        for model, summary in summaries.items():
            value = summary.get(goal.key.format(tokens=tokens[model]))
            reached[model] = "not measured" if value is None else goal.shown(value)
            met[model] = None if value is None else goal.met(value, tokens[model])
        rows.append({"measure": goal.measure, "goal": goal.in_words(), "reached": reached, "met": met})
    return rows
