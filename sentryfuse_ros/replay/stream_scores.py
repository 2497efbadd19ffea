"""How a camera's stream followed the scene: what was encoded anew, and how long an inference took, by what was to be seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from .run_record import PredictionRow, RunRecord, StreamRow


@dataclass(frozen=True)
class StreamScore:
    """The predictions at one label and pruning ratio. Shares are of their pictures; tokens and FLOPs of encoding all whole."""

    label: str  # "" where the truth is not known
    ratio: float
    predictions: int
    tokens: float
    flops: float
    reuse: float
    light: float
    full: float
    inference_ms_p50: float


@dataclass(frozen=True)
class StreamSummary:
    """The whole run, and its parts."""

    tokens: float
    flops: float
    switches_per_s: float
    parts: tuple[StreamScore, ...]

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def streamed_predictions(record: RunRecord) -> list[tuple[PredictionRow, StreamRow]]:
    """Every valid prediction with what the stream did for it."""
    pairs = ((p, record.stream(p.t_s)) for p in record.predictions if p.valid)
    return [(p, stream) for p, stream in pairs if stream is not None]


def score_stream(record: RunRecord) -> StreamSummary | None:
    """By label and ratio, in the order of their first prediction; None without a stream."""
    pairs = streamed_predictions(record)
    if not pairs:
        return None
    groups: dict[tuple[float, str], list[tuple[PredictionRow, StreamRow]]] = defaultdict(list)
    for p, stream in pairs:
        label = record.labels.at_s(p.t_s) if record.labels is not None else ""
        groups[round(p.ratio, 3), label or ""].append((p, stream))
    branches = [stream.branch for _, stream in pairs]
    switches = sum(a != b for a, b in zip(branches, branches[1:]))
    span_s = pairs[-1][0].t_s - pairs[0][0].t_s
    return StreamSummary(
        round(_mean([stream.tokens for _, stream in pairs]), 4),
        round(_mean([stream.flops_share for _, stream in pairs]), 4),
        round(switches / span_s, 3) if span_s > 0 else 0.0,
        tuple(_score(label, ratio, group) for (ratio, label), group in groups.items()),
    )


def _score(label: str, ratio: float, group: Sequence[tuple[PredictionRow, StreamRow]]) -> StreamScore:
    branches = [stream.branch for _, stream in group]
    reuse, light, full = (round(branches.count(branch) / len(branches), 4) for branch in ("reuse", "light", "full"))
    tokens, flops = ([getattr(stream, name) for _, stream in group] for name in ("tokens", "flops_share"))
    inference_ms = round(median(p.inference_ms for p, _ in group), 3)
    return StreamScore(
        label, ratio, len(group), round(_mean(tokens), 4), round(_mean(flops), 4), reuse, light, full, inference_ms
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
