"""The bench of streams: one run of several models, with one table of what they have to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from .. import __version__
from ..errors import CheckpointError, DataError
from ..machine import machine
from ..model.checkpoint import Checkpoint
from ..streaming.stream_config import StreamConfig
from ..training.stream_run import load_frames
from .stream_goals import judged
from .stream_set_ups import patch_tokens
from .streaming_model import Effort, ModelReport, Say, measure_model, measure_times, section_sha256


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
        machine=_machine(),
        summary=headline(summaries, tokens),
        goals=judged(summaries, tokens),
        by_model=found,
    )


def measure_times_again(
    known: Mapping[str, Any], checkpoints: Mapping[str, Checkpoint], effort: Effort, say: Say
) -> dict[str, Any]:
    """The results of an earlier run, as `StreamingReport.to_dict` gives them, with the times of this machine in place of those in
    them. What else they hold does not depend on the machine.

    ``checkpoints``: those of its models, by their names. Raises DataError without UTD-MHAD or where the results are of other
    weights, CheckpointError where a model does not stream.
    """
    configs = {name: _stream_config(name, checkpoint) for name, checkpoint in checkpoints.items()}
    for name, checkpoint in checkpoints.items():
        found = known["by_model"][name]
        own = {"sha256": checkpoint.info.get("sha256"), "section_sha256": section_sha256(checkpoint)}
        for part, what in (("sha256", "weights"), ("section_sha256", "section streaming")):
            if found[part] != own[part]:
                seen, expected = f"those of {what} {found[part][:12]}", f"those of {str(own[part])[:12]}, which the model has now"
                raise DataError(f"results of model {name}", seen, expected, "measure the model with a whole run")
    frames, by_model = load_frames(), dict(known["by_model"])
    for name, checkpoint in checkpoints.items():
        label = f"{name}, {patch_tokens(checkpoint)} tokens"
        times = measure_times(checkpoint, configs[name], frames, effort, partial(_labelled, say, label))
        summary = {**by_model[name]["summary"], **times.summary}
        by_model[name] = {**by_model[name], "summary": summary, "latency_ms": times.latency_ms, "tick_ms": times.tick_ms}
    summaries, tokens = ({name: found[part] for name, found in by_model.items()} for part in ("summary", "tokens"))
    return {
        **known,
        "version": __version__,
        "machine": _machine(),
        "summary": {**known["summary"], **headline(summaries, tokens)},
        "goals": judged(summaries, tokens),
        "by_model": by_model,
    }


def headline(summaries: Mapping[str, Mapping[str, float]], tokens: Mapping[str, int]) -> dict[str, float]:
    """One summary of several models. Keys that name a number of tokens are of the model with so many; all others are those of
    the first model, whether it is the better one or not.

    summaries, tokens: by model, its summary and the patches of one of its pictures.
    """
    sized = {k: v for name, summary in summaries.items() for k, v in summary.items() if str(tokens[name]) in k.split("_")}
    return {**next(iter(summaries.values())), **sized}


def _machine() -> dict[str, Any]:
    return {**machine(1), "backend": "onnxruntime", "device": "cpu"}


def _labelled(say: Say, label: str, doing: str) -> None:
    say(f"{label}: {doing}")


def _stream_config(name: str, checkpoint: Checkpoint) -> StreamConfig:
    section = checkpoint.info.get("streaming")
    if not section:
        raise CheckpointError(f"model {name}", "no streaming section", "a model that streams", "take utd_mhad_stream")
    return StreamConfig.from_dict(section)
