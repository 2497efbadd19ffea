"""The bench of streams: what they save and cost on whole recordings, how long a picture takes, and what they have to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .. import __version__
from ..datasets.utd_mhad import SPLIT
from ..errors import CheckpointError
from ..machine import machine
from ..model.checkpoint import Checkpoint
from ..streaming.stream_config import StreamConfig
from ..streaming.window_encoder import WindowEncoder
from ..training.depth_clips import DepthFrames
from ..training.stream_run import load_frames
from . import stream_controls
from .people_streams import PAN_ONSET, CameraMotion, people_streams
from .stream_accuracy import PLAIN, StreamScore, StreamSetUp, score_streams
from .stream_latency import GlobalAttention, Side, ratio, resized, time_sides
from .stream_set_ups import (
    TOGETHER_RATIO,
    always_routed,
    detection_alone,
    patch_tokens,
    pruned,
    set_ups_of_a_moving_camera,
    set_ups_of_a_still_camera,
    whole,
)
from .stream_ticks import time_ticks

LARGE = (240, 320)  # 1200 patches of 8 x 8; a model with smaller pictures is also timed with these, and random weights
MOTIONS = {
    "jitter 1 px": CameraMotion("jitter", 1),
    "pan 0.5 px a picture": CameraMotion("pan", 0.5),
    "pan 2 px a picture": CameraMotion("pan", 2.0),
}
STEADY_PICTURES = 100
STEADY = (PLAIN, "change detection", "router", "fixed thresholds")
BRIEF = (*STEADY, "change detection, vote on motion", "together")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How many recordings are run and timed."""

    every: int = 1  # every so many-th test recording
    motion_every: int = 2
    timed: int = 12  # recordings
    rounds: int = 5
    ticks_s: float = 19.0  # of the simulated scene, one visit
    # Only how the model streams, before a standing camera: no other policy, no control, nobody who stands still.
    brief: bool = False


QUICK = Effort(every=16, motion_every=48, timed=2, rounds=2, ticks_s=9.0)


@dataclass(frozen=True)
class StreamingReport:
    """Everything that `sentryfuse bench streaming` found."""

    model: str
    sha256: str
    version: str
    machine: Mapping[str, Any]
    recordings: int
    summary: Mapping[str, float]
    still: Mapping[str, StreamScore]  # whole recordings, by set-up
    steady: Mapping[str, StreamScore]  # people who stand still, by set-up
    moving: Mapping[str, Mapping[str, StreamScore]]  # by motion of the camera, by set-up
    latency_ms: Mapping[str, Mapping[str, float]]  # mean of a picture, by scene, by side
    captions_of: str = ""  # SHA-256 of the weights whose caption head the summary's caption figures are of; they are not streams

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_streaming(checkpoint: Checkpoint, effort: Effort, say: Say) -> StreamingReport:
    """Run everything. Raises DataError without UTD-MHAD, CheckpointError where the model does not stream."""
    section = checkpoint.info.get("streaming")
    if not section:
        raise CheckpointError(
            f"model {checkpoint.info.get('name', '')}", "no streaming section", "a model that streams", "take utd_mhad_stream"
        )
    config = StreamConfig.from_dict(section)
    frames = load_frames()
    spec = checkpoint.config.modalities[0]
    chosen = frames.recordings(SPLIT["test"])[:: effort.every]
    set_ups = set_ups_of_a_still_camera(checkpoint, config)
    if effort.brief:
        set_ups = {name: set_ups[name] for name in BRIEF}
    say(f"{len(chosen)} recordings, camera still")
    still = score_streams(checkpoint, people_streams(frames, chosen, spec), set_ups, spec.grid_rate_hz)
    steady, moving = {}, {}
    if not effort.brief:
        say("people who stand still")
        steady = score_streams(
            checkpoint,
            people_streams(frames, chosen[::8], spec, steady_pictures=STEADY_PICTURES),
            {name: set_ups[name] for name in STEADY},
            spec.grid_rate_hz,
        )
        moving = _moving(checkpoint, config, frames, effort, say)
    say("latency")
    latency, ratios = _latencies(checkpoint, config, frames, effort)
    latency["a tick of the fuser"] = ticks = time_ticks(checkpoint, effort.ticks_s)
    return StreamingReport(
        model=str(checkpoint.info.get("name", "")),
        sha256=str(checkpoint.info.get("sha256", "")),
        version=__version__,
        machine={**machine(1), "backend": "onnxruntime", "device": "cpu"},
        recordings=len(chosen),
        summary={**_summary(still, steady, moving), **ratios, **_tick_ratios(ticks)},
        still=still,
        steady=steady,
        moving=moving,
        latency_ms=latency,
    )


def _moving(
    checkpoint: Checkpoint, config: StreamConfig, frames: DepthFrames, effort: Effort, say: Say
) -> dict[str, dict[str, StreamScore]]:
    """Scores by motion of the camera, by set-up."""
    spec, moving = checkpoint.config.modalities[0], {}
    some = frames.recordings(SPLIT["test"])[:: effort.motion_every]
    for name, motion in MOTIONS.items():
        say(f"camera moving: {name}")
        streams = people_streams(frames, some, spec, motion)
        moving[name] = score_streams(checkpoint, streams, set_ups_of_a_moving_camera(checkpoint, config), spec.grid_rate_hz)
    return moving


def _summary(
    still: Mapping[str, StreamScore], steady: Mapping[str, StreamScore], moving: Mapping[str, Mapping[str, StreamScore]]
) -> dict[str, float]:
    plain, sttf, router, together = (still[k] for k in (PLAIN, "change detection", "router", "together"))
    summary = {
        "accuracy_plain": plain.accuracy,
        "sttf_token_reduction": round(1 - sttf.windows_share, 4),
        "sttf_accuracy_kept": sttf.kept,
        "sttf_accuracy_kept_low": sttf.kept_ci95[0],
        "anc_flops_reduction_low_motion": round(1 - router.flops_share_low_motion, 4),
        "anc_accuracy_loss_points": round(100 * (plain.accuracy - router.accuracy), 2),
        "anc_switches_per_s": router.switches_per_s,
        "together_accuracy_loss_points": round(100 * (plain.accuracy - together.accuracy), 2),
    }
    if steady:
        summary["anc_switches_per_s_steady"] = steady["router"].switches_per_s
        summary["sttf_token_reduction_steady"] = round(1 - steady["change detection"].windows_share, 4)
    if moving:
        lost = [100 * (scores[PLAIN].accuracy - scores["with a gyro"].accuracy) for scores in moving.values()]
        summary["moving_camera_accuracy_loss_points"] = round(max(lost), 2)
    return summary


def _tick_ratios(ticks: Mapping[str, float]) -> dict[str, float]:
    """How many times as fast a tick is with a stream at ratio 0, and with everything together, while nobody is there and while
    somebody is."""
    return {
        f"{name}_{scene}": round(ticks[f"no stream, {scene}"] / ticks[f"stream, ratio {ratio}, {scene}"], 3)
        for name, ratio in (("tick_ratio", "0"), ("together_tick_ratio", "0.7"))
        for scene in ("nobody", "somebody")
    }


def _latencies(
    checkpoint: Checkpoint, config: StreamConfig, frames: DepthFrames, effort: Effort
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Mean milliseconds of a picture by scene and side, and the ratios of the summary."""
    chosen = frames.recordings(SPLIT["test"])
    chosen = chosen[:: max(len(chosen) // effort.timed, 1)][: effort.timed]
    alone, spec = detection_alone(config), checkpoint.config.modalities[0]
    watching, routed = replace(alone, watch_motion=True), always_routed(config)
    table: dict[str, dict[str, float]] = {}

    def time_scene(name: str, sides: Sides, streams: list, first: int = 1) -> dict[str, np.ndarray]:
        took = time_sides(streams, sides.sides, sides.reset, effort.rounds, first)
        table[name] = {side: round(1e3 * float(seconds.mean()), 4) for side, seconds in took.items()}
        return took

    tokens = patch_tokens(checkpoint)
    streams = list(people_streams(frames, chosen, spec))
    still = Sides(checkpoint)
    still.encoder_side("encoder, dense", stream_controls.plain)
    still.encoder_side("encoder, stream", alone.make_stream)
    still.encoder_side("encoder, stream with vote", watching.make_stream)
    still.whole_side("model, dense", StreamSetUp(stream_controls.plain, whole(checkpoint)))
    still.whole_side("model, stream", StreamSetUp(alone.make_stream, whole(checkpoint)))
    together = StreamSetUp(routed.make_stream, pruned(checkpoint), TOGETHER_RATIO, reuse_predictions=True)
    still.whole_side("model, together", together)
    still.side("encoder, global attention", GlobalAttention(checkpoint, still.encoder))
    took = time_scene(f"{tokens} tokens, camera still", still, streams)

    pans = list(people_streams(frames, chosen, spec, MOTIONS["pan 2 px a picture"]))
    moving = Sides(checkpoint)
    moving.encoder_side("encoder, dense", stream_controls.plain)
    moving.encoder_side("encoder, stream with a gyro", watching.make_stream, gyro=True)
    moving.encoder_side("encoder, stream with vote", watching.make_stream)
    at_pan = time_scene(f"{tokens} tokens, camera panning", moving, pans, PAN_ONSET)

    ratios = {
        f"sttf_latency_ratio_{tokens}": ratio(took["encoder, dense"], took["encoder, stream"]),
        f"sttf_latency_ratio_{tokens}_vs_global": ratio(took["encoder, global attention"], took["encoder, stream"]),
        f"sttf_latency_ratio_{tokens}_whole_model": ratio(took["model, dense"], took["model, stream"]),
        "moving_camera_latency_ratio": ratio(at_pan["encoder, dense"], at_pan["encoder, stream with a gyro"]),
        "moving_camera_latency_ratio_vote": ratio(at_pan["encoder, dense"], at_pan["encoder, stream with vote"]),
        "together_latency_ratio": ratio(took["model, dense"], took["model, together"]),
    }
    if np.prod(spec.shape[2:]) >= np.prod(LARGE):
        return table, ratios
    larger = resized(checkpoint, *LARGE)
    wide = list(people_streams(frames, chosen[:: max(len(chosen) // 4, 1)], larger.config.modalities[0]))
    large = Sides(larger)
    large.encoder_side("encoder, dense", stream_controls.plain)
    large.encoder_side("encoder, stream", alone.make_stream)
    large.side("encoder, global attention", GlobalAttention(larger, large.encoder))
    tokens = patch_tokens(larger)
    took = time_scene(f"{tokens} tokens, random weights, camera still", large, wide)
    return table, {
        **ratios,
        f"sttf_latency_ratio_{tokens}": ratio(took["encoder, dense"], took["encoder, stream"]),
        f"sttf_latency_ratio_{tokens}_vs_global": ratio(took["encoder, global attention"], took["encoder, stream"]),
    }


class Sides:
    """What is timed in turns, with one reset for all."""

    def __init__(self, checkpoint: Checkpoint):
        (name,) = checkpoint.config.names
        self._checkpoint, self.encoder = checkpoint, WindowEncoder(checkpoint, name)
        self.sides: dict[str, Side] = {}
        self._resets: list[Callable[[], None]] = []

    def side(self, name: str, run: Side) -> None:
        """Anything that takes a picture and the camera's rate of turn."""
        self.sides[name] = run

    def encoder_side(self, name: str, make: Callable[[WindowEncoder], Any], gyro: bool = False) -> None:
        """A camera's stream up to the picture's token."""
        stream = make(self.encoder)
        self._resets.append(stream.reset)
        self.sides[name] = lambda picture, turn: stream.update(picture, turn_rad_s=turn if gyro else None)

    def whole_side(self, name: str, set_up: StreamSetUp) -> None:
        """The whole model up to the logits."""
        run = set_up.run(self._checkpoint, self.encoder)
        self._resets.append(run.reset)
        self.sides[name] = lambda picture, turn: run.update(picture, ratio=set_up.ratio)

    def reset(self) -> None:
        """Forget every picture."""
        for reset in self._resets:
            reset()
