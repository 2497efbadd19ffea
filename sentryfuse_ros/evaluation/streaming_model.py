"""The bench of one model's stream: what it saves and costs on whole recordings, and how long a picture takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

import numpy as np

from ..datasets.utd_mhad import SPLIT
from ..model.checkpoint import Checkpoint
from ..runtime.process_memory import use_large_pages
from ..streaming.stream_config import StreamConfig
from ..training.depth_clips import DepthFrames
from .people_streams import PAN_ONSET, CameraMotion, PeopleStream, people_streams
from .stream_accuracy import PLAIN, StreamScore, score_streams
from .stream_latency import ratio, time_sides
from .stream_set_ups import patch_tokens, set_ups_of_a_moving_camera, set_ups_of_a_still_camera
from .stream_sides import Sides, sides_of_a_moving_camera, sides_of_a_still_camera
from .stream_ticks import time_ticks

MOTIONS = {
    "jitter 1 px": CameraMotion("jitter", 1),
    "pan 0.5 px a picture": CameraMotion("pan", 0.5),
    "pan 2 px a picture": CameraMotion("pan", 2.0),
}
STEADY_PICTURES = 100
TELLING = 40  # streams that take long enough to be told how far they have come
STEADY = (PLAIN, "change detection", "router", "fixed thresholds")
BRIEF = (*STEADY, "change detection, vote on motion", "together")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How many recordings are run and timed."""

    every: int = 1  # every so many-th test recording
    rooms: int = 4  # that each of them is put into, before a standing camera
    motion_every: int = 1  # likewise, for a moving camera
    timed: int = 12  # recordings
    rounds: int = 5
    ticks_s: float = 19.0  # of the simulated scene, one visit
    # Only how the model streams, before a standing camera: no other policy, no control, nobody who stands still.
    brief: bool = False


QUICK = Effort(every=16, rooms=1, motion_every=48, timed=2, rounds=2, ticks_s=9.0)


@dataclass(frozen=True)
class ModelReport:
    """Everything that was found of one model."""

    sha256: str  # of the weights
    section_sha256: str  # see `section_sha256`
    tokens: int  # patches of a picture
    recordings: int
    rooms: int  # of each recording, before a standing camera
    summary: Mapping[str, float]
    still: Mapping[str, StreamScore]  # whole recordings, by set-up
    steady: Mapping[str, StreamScore]  # people who stand still, by set-up
    moving: Mapping[str, Mapping[str, StreamScore]]  # by motion of the camera, by set-up
    latency_ms: Mapping[str, Mapping[str, float]]  # mean of a picture, by scene, by side
    tick_ms: Mapping[str, float]  # see `time_ticks`


@dataclass(frozen=True)
class StreamTimes:
    """What one model's streams take."""

    latency_ms: Mapping[str, Mapping[str, float]]  # mean of a picture, by scene, by side
    tick_ms: Mapping[str, float]  # see `time_ticks`
    summary: Mapping[str, float]  # the ratios between them


def section_sha256(checkpoint: Checkpoint) -> str:
    """Of the section `streaming` of a model's JSON, by which it shows whether results are of the stream that ships."""
    return sha256(json.dumps(checkpoint.info["streaming"], sort_keys=True).encode()).hexdigest()


def measure_model(checkpoint: Checkpoint, config: StreamConfig, frames: DepthFrames, effort: Effort, say: Say) -> ModelReport:
    """Run everything with one model; ``config`` is its section `streaming`."""
    spec = checkpoint.config.modalities[0]
    chosen = frames.recordings(SPLIT["test"])[:: effort.every]
    set_ups = set_ups_of_a_still_camera(checkpoint, config)
    if effort.brief:
        set_ups = {name: set_ups[name] for name in BRIEF}
    in_rooms = chain.from_iterable(people_streams(frames, chosen, spec, seed=room) for room in range(effort.rooms))
    streams = _told(in_rooms, effort.rooms * len(chosen), "camera still", say)
    still = score_streams(checkpoint, streams, set_ups, spec.grid_rate_hz)
    steady, moving = {}, {}
    if not effort.brief:
        some = chosen[::8]
        streams = people_streams(frames, some, spec, steady_pictures=STEADY_PICTURES)
        streams = _told(streams, len(some), "people who stand still", say)
        steady = score_streams(checkpoint, streams, {name: set_ups[name] for name in STEADY}, spec.grid_rate_hz)
        moving = _moving(checkpoint, config, frames, effort, say)
    times = measure_times(checkpoint, config, frames, effort, say)
    return ModelReport(
        sha256=str(checkpoint.info.get("sha256", "")),
        section_sha256=section_sha256(checkpoint),
        tokens=patch_tokens(checkpoint),
        recordings=len(chosen),
        rooms=effort.rooms,
        summary={**_summary(still, steady, moving), **times.summary},
        still=still,
        steady=steady,
        moving=moving,
        latency_ms=times.latency_ms,
        tick_ms=times.tick_ms,
    )


def measure_times(checkpoint: Checkpoint, config: StreamConfig, frames: DepthFrames, effort: Effort, say: Say) -> StreamTimes:
    """Only what depends on the machine: the time of a picture and of a tick."""
    say("latency")
    latency, ratios = _latencies(checkpoint, config, frames, effort)
    say("ticks of the fuser")
    ticks = time_ticks(checkpoint, effort.ticks_s)
    return StreamTimes(latency, ticks, {**ratios, **_tick_ratios(ticks)})


def _told(streams: Iterator[PeopleStream], count: int, doing: str, say: Say) -> Iterator[PeopleStream]:
    """The same streams; it says at the start and after every quarter how far they have come."""
    told = {round(count * quarter / 4) for quarter in (1, 2, 3)} if count >= TELLING else set()
    say(f"{doing}, {count} streams")
    for number, stream in enumerate(streams):
        if number in told:
            say(f"{doing}, {number} of {count}")
        yield stream


def _moving(
    checkpoint: Checkpoint, config: StreamConfig, frames: DepthFrames, effort: Effort, say: Say
) -> dict[str, dict[str, StreamScore]]:
    """Scores by motion of the camera, by set-up."""
    spec, moving = checkpoint.config.modalities[0], {}
    some = frames.recordings(SPLIT["test"])[:: effort.motion_every]
    for name, motion in MOTIONS.items():
        streams = _told(people_streams(frames, some, spec, motion), len(some), f"camera moving, {name}", say)
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
        for key, way in (("", "with a gyro"), ("_vote", "vote of the windows")):
            lost = [100 * (scores[PLAIN].accuracy - scores[way].accuracy) for scores in moving.values()]
            summary[f"moving_camera_accuracy_loss_points{key}"] = round(max(lost), 2)
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
    spec, tokens = checkpoint.config.modalities[0], patch_tokens(checkpoint)
    table: dict[str, dict[str, float]] = {}

    def time_scene(name: str, sides: Sides, motion: CameraMotion | None = None, first: int = 1) -> dict[str, np.ndarray]:
        streams = list(people_streams(frames, chosen, spec, motion))
        use_large_pages()  # as a node does
        took = time_sides(streams, sides.sides, sides.reset, effort.rounds, first)
        table[name] = {side: round(1e3 * float(seconds.mean()), 4) for side, seconds in took.items()}
        return took

    still = time_scene("camera still", sides_of_a_still_camera(checkpoint, config))
    pan = time_scene("camera panning", sides_of_a_moving_camera(checkpoint, config), MOTIONS["pan 2 px a picture"], PAN_ONSET)
    return table, {
        f"sttf_latency_ratio_{tokens}": ratio(still["encoder, dense"], still["encoder, stream"]),
        f"sttf_latency_ratio_{tokens}_vs_global": ratio(still["encoder, global attention"], still["encoder, stream"]),
        f"sttf_latency_ratio_{tokens}_whole_model": ratio(still["model, dense"], still["model, stream"]),
        "moving_camera_latency_ratio": ratio(pan["encoder, dense"], pan["encoder, stream with a gyro"]),
        "moving_camera_latency_ratio_vote": ratio(pan["encoder, dense"], pan["encoder, stream with vote"]),
        "together_latency_ratio": ratio(still["model, dense"], still["model, together"]),
    }
