"""The bench of streams: what they save and cost on whole recordings, how long a picture takes, and what they have to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import __version__
from ..datasets.utd_mhad import SPLIT
from ..errors import CheckpointError
from ..machine import machine
from ..model.checkpoint import Checkpoint
from ..model.subnetwork import Subnetwork, whole_stems
from ..streaming.branches import Steadiness
from ..streaming.policy import StreamPolicy
from ..streaming.stream_config import StreamConfig
from ..streaming.window_encoder import WindowEncoder
from ..training.depth_clips import DepthFrames
from ..training.stream_run import load_frames
from . import stream_controls
from .people_streams import PAN_ONSET, CameraMotion, people_streams
from .stream_accuracy import PLAIN, StreamScore, StreamSetUp, score_streams
from .stream_latency import GlobalAttention, Side, ratio, resized, time_sides
from .stream_ticks import time_ticks

TOGETHER_RATIO = 0.7
LARGE = (240, 320)  # 1200 patches of 8 x 8
MOTIONS = {
    "jitter 1 px": CameraMotion("jitter", 1),
    "pan 0.5 px a picture": CameraMotion("pan", 0.5),
    "pan 2 px a picture": CameraMotion("pan", 2.0),
}
STEADY_PICTURES = 100
THRESHOLD_STEADINESS = Steadiness(dwell_pictures=4, margin=0.4)  # of the fixed thresholds, chosen for them on subject 7
STEADY = (PLAIN, "change detection", "router", "fixed thresholds")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How many recordings are run and timed."""

    every: int = 1  # every so many-th test recording
    motion_every: int = 2
    timed: int = 12  # recordings
    rounds: int = 5
    ticks_s: float = 19.0  # of the simulated scene, one visit


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
    say(f"{len(chosen)} recordings, camera still")
    still = score_streams(
        checkpoint, people_streams(frames, chosen, spec), set_ups_of_a_still_camera(checkpoint, config), spec.grid_rate_hz
    )
    say("people who stand still")
    steady = score_streams(
        checkpoint,
        people_streams(frames, chosen[::8], spec, steady_pictures=STEADY_PICTURES),
        {name: set_up for name, set_up in set_ups_of_a_still_camera(checkpoint, config).items() if name in STEADY},
        spec.grid_rate_hz,
    )
    moving = {}
    for name, motion in MOTIONS.items():
        say(f"camera moving: {name}")
        some = frames.recordings(SPLIT["test"])[:: effort.motion_every]
        streams = people_streams(frames, some, spec, motion)
        moving[name] = score_streams(checkpoint, streams, set_ups_of_a_moving_camera(checkpoint, config), spec.grid_rate_hz)
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


def whole(checkpoint: Checkpoint) -> Subnetwork:
    """The whole network."""
    return whole_stems(checkpoint.config, (True,), 0.0)


def pruned(checkpoint: Checkpoint) -> Subnetwork:
    """What runs of the backbone at TOGETHER_RATIO: the largest size that leaves at least this share of its layers' units out."""
    config = checkpoint.config
    kept = {size: size.layers / config.layers * (1 - size.ratio) for size in config.fusion_sizes}
    fitting = [size for size, share in kept.items() if share <= 1 - TOGETHER_RATIO + 1e-9]
    size = max(fitting, key=lambda s: kept[s])
    return Subnetwork((True,), (0,), size.layers, size.ratio)


def detection_alone(config: StreamConfig) -> StreamConfig:
    """Without router, and without looking for motion of the camera: the camera is known to stand."""
    return replace(config, router="none", watch_motion=False)


def always_routed(config: StreamConfig) -> StreamConfig:
    """With the router at every pruning ratio; the camera is known to stand."""
    return replace(config, watch_motion=False, route_from_ratio=0.0)


def set_ups_of_a_still_camera(checkpoint: Checkpoint, config: StreamConfig) -> dict[str, StreamSetUp]:
    """The shipped stream, its parts, other policies, and the controls."""
    part, alone = whole(checkpoint), detection_alone(config)
    routed = always_routed(config)

    def with_policy(**options: Any) -> StreamSetUp:
        return StreamSetUp(replace(alone, policy=StreamPolicy(**options)).make_stream, part)

    return {
        PLAIN: StreamSetUp(stream_controls.plain, part),
        "change detection": StreamSetUp(alone.make_stream, part),
        "every change": with_policy(kind="threshold"),
        "at most 8 windows": with_policy(kind="top_k", most_windows=8),
        "at most 4 windows": with_policy(kind="top_k", most_windows=4),
        "at most 2 windows": with_policy(kind="top_k", most_windows=2),
        "change detection, vote on motion": StreamSetUp(replace(alone, watch_motion=True).make_stream, part),
        "router": StreamSetUp(routed.make_stream, part),
        "fixed thresholds": StreamSetUp(replace(routed, router="threshold", steadiness=THRESHOLD_STEADINESS).make_stream, part),
        "together": StreamSetUp(routed.make_stream, pruned(checkpoint), TOGETHER_RATIO, reuse_predictions=True),
        "control: random windows": StreamSetUp(partial(stream_controls.random_windows, config=alone), part),
        "control: picture before": StreamSetUp(partial(stream_controls.against_the_picture_before, config=alone), part),
        "control: holes as depth": StreamSetUp(partial(stream_controls.blind_to_holes, config=alone), part),
        "control: no refresh": StreamSetUp(partial(stream_controls.without_refresh, config=alone), part),
        "control: every 8th picture": StreamSetUp(partial(stream_controls.every_nth_picture, n=8), part),
    }


def set_ups_of_a_moving_camera(checkpoint: Checkpoint, config: StreamConfig) -> dict[str, StreamSetUp]:
    """The shipped stream with and without a gyro, and without looking for motion."""
    part = whole(checkpoint)
    alone = detection_alone(config)
    watching = replace(alone, watch_motion=True)
    return {
        PLAIN: StreamSetUp(stream_controls.plain, part),
        "with a gyro": StreamSetUp(watching.make_stream, part, gyro=True),
        "vote of the windows": StreamSetUp(watching.make_stream, part),
        "motion not looked for": StreamSetUp(alone.make_stream, part),
    }


def _summary(
    still: Mapping[str, StreamScore], steady: Mapping[str, StreamScore], moving: Mapping[str, Mapping[str, StreamScore]]
) -> dict[str, float]:
    plain, sttf, router, together = (still[k] for k in (PLAIN, "change detection", "router", "together"))
    lost = [100 * (scores[PLAIN].accuracy - scores["with a gyro"].accuracy) for scores in moving.values()]
    return {
        "accuracy_plain": plain.accuracy,
        "sttf_token_reduction": round(1 - sttf.windows_share, 4),
        "sttf_accuracy_kept": sttf.kept,
        "sttf_accuracy_kept_low": sttf.kept_ci95[0],
        "anc_flops_reduction_low_motion": round(1 - router.flops_share_low_motion, 4),
        "anc_accuracy_loss_points": round(100 * (plain.accuracy - router.accuracy), 2),
        "anc_switches_per_s": router.switches_per_s,
        "anc_switches_per_s_steady": steady["router"].switches_per_s,
        "sttf_token_reduction_steady": round(1 - steady["change detection"].windows_share, 4),
        "moving_camera_accuracy_loss_points": round(max(lost), 2),
        "together_accuracy_loss_points": round(100 * (plain.accuracy - together.accuracy), 2),
    }


def _tick_ratios(ticks: Mapping[str, float]) -> dict[str, float]:
    """How many times as fast a tick is with a stream, while nobody is there and while somebody is."""
    return {
        f"tick_ratio_{scene}": round(ticks[f"no stream, {scene}"] / ticks[f"stream, ratio 0, {scene}"], 3)
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

    streams = list(people_streams(frames, chosen, spec))
    small = Sides(checkpoint)
    small.encoder_side("encoder, dense", stream_controls.plain)
    small.encoder_side("encoder, stream", alone.make_stream)
    small.encoder_side("encoder, stream with vote", watching.make_stream)
    small.whole_side("model, dense", StreamSetUp(stream_controls.plain, whole(checkpoint)))
    small.whole_side("model, stream", StreamSetUp(alone.make_stream, whole(checkpoint)))
    together = StreamSetUp(routed.make_stream, pruned(checkpoint), TOGETHER_RATIO, reuse_predictions=True)
    small.whole_side("model, together", together)
    small.side("encoder, global attention", GlobalAttention(checkpoint, small.encoder))
    at_196 = time_scene("196 tokens, camera still", small, streams)

    pans = list(people_streams(frames, chosen, spec, MOTIONS["pan 2 px a picture"]))
    moving = Sides(checkpoint)
    moving.encoder_side("encoder, dense", stream_controls.plain)
    moving.encoder_side("encoder, stream with a gyro", watching.make_stream, gyro=True)
    moving.encoder_side("encoder, stream with vote", watching.make_stream)
    at_pan = time_scene("196 tokens, camera panning", moving, pans, PAN_ONSET)

    larger = resized(checkpoint, *LARGE)
    wide = list(people_streams(frames, chosen[:: max(len(chosen) // 4, 1)], larger.config.modalities[0]))
    large = Sides(larger)
    large.encoder_side("encoder, dense", stream_controls.plain)
    large.encoder_side("encoder, stream", alone.make_stream)
    large.side("encoder, global attention", GlobalAttention(larger, large.encoder))
    at_1200 = time_scene("1200 tokens, camera still", large, wide)
    return table, {
        "sttf_latency_ratio_196": ratio(at_196["encoder, dense"], at_196["encoder, stream"]),
        "sttf_latency_ratio_196_whole_model": ratio(at_196["model, dense"], at_196["model, stream"]),
        "sttf_latency_ratio_1200": ratio(at_1200["encoder, dense"], at_1200["encoder, stream"]),
        "sttf_latency_ratio_1200_vs_global": ratio(at_1200["encoder, global attention"], at_1200["encoder, stream"]),
        "moving_camera_latency_ratio": ratio(at_pan["encoder, dense"], at_pan["encoder, stream with a gyro"]),
        "moving_camera_latency_ratio_vote": ratio(at_pan["encoder, dense"], at_pan["encoder, stream with vote"]),
        "together_latency_ratio": ratio(at_196["model, dense"], at_196["model, together"]),
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
