"""The bench of streams: one run of several models, with one table of what they have to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from .. import __version__
from ..errors import CheckpointError
from ..machine import machine
from ..model.checkpoint import Checkpoint
from ..streaming.stream_config import StreamConfig
from ..training.stream_run import load_frames
from .stream_goals import judged
from .stream_set_ups import patch_tokens
from .streaming_model import Effort, ModelReport, Say, measure_model


@dataclass(frozen=True)
class StreamingReport:
    """Everything that one run of `sentryfuse bench streaming` found."""

    version: str
    machine: Mapping[str, Any]
    summary: Mapping[str, float]  # see `headline`
    goals: Sequence[Mapping[str, Any]]  # see `judged`
    by_model: Mapping[str, ModelReport]
    captions_of: str = ""  # SHA-256 of the weights whose caption head the summary's caption figures are of; they are not streams

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_streaming(checkpoints: Mapping[str, Checkpoint], effort: Effort, say: Say) -> StreamingReport:
    """Measure models, by their names, one after the other. Raises DataError without UTD-MHAD, CheckpointError where one of
    them does not stream."""
    configs = {name: _stream_config(name, checkpoint) for name, checkpoint in checkpoints.items()}
    frames = load_frames()
    found = {}
    for name, checkpoint in checkpoints.items():
        label = f"{name}, {patch_tokens(checkpoint)} tokens"
        found[name] = measure_model(checkpoint, configs[name], frames, effort, partial(_labelled, say, label))
    summaries, tokens = {name: r.summary for name, r in found.items()}, {name: r.tokens for name, r in found.items()}
    return StreamingReport(
        version=__version__,
        machine={**machine(1), "backend": "onnxruntime", "device": "cpu"},
        summary=headline(summaries, tokens),
        goals=judged(summaries, tokens),
        by_model=found,
    )


def headline(summaries: Mapping[str, Mapping[str, float]], tokens: Mapping[str, int]) -> dict[str, float]:
    """One summary of several models. Keys that name a number of tokens are of the model with so many; all others are those of
    the first model, whether it is the better one or not.

    summaries, tokens: by model, its summary and the patches of one of its pictures.
    """
    sized = {k: v for name, summary in summaries.items() for k, v in summary.items() if str(tokens[name]) in k.split("_")}
    return {**next(iter(summaries.values())), **sized}


def _labelled(say: Say, label: str, doing: str) -> None:
    say(f"{label}: {doing}")


def _stream_config(name: str, checkpoint: Checkpoint) -> StreamConfig:
    section = checkpoint.info.get("streaming")
    if not section:
        raise CheckpointError(f"model {name}", "no streaming section", "a model that streams", "take utd_mhad_stream")
    return StreamConfig.from_dict(section)
