"""The ways to run a stream that the bench compares: as shipped, its parts, other policies, and controls."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

from ..model.checkpoint import Checkpoint
from ..model.patch_config import PatchTokenizerConfig
from ..model.subnetwork import Subnetwork, whole_stems
from ..streaming.branches import Steadiness
from ..streaming.policy import StreamPolicy
from ..streaming.stream_config import StreamConfig
from . import stream_controls
from .stream_accuracy import PLAIN, StreamSetUp

TOGETHER_RATIO = 0.7
WINDOWS = 49  # of the small model; the fixed numbers of windows to encode grow with the pictures
THRESHOLD_STEADINESS = Steadiness(dwell_pictures=4, margin=0.4)  # of the fixed thresholds, chosen for them on subject 7


def encoder_options(checkpoint: Checkpoint) -> PatchTokenizerConfig:
    """The options of the patch encoder of the only input."""
    options = checkpoint.config.tokenizer[checkpoint.config.names[0]]
    assert isinstance(options, PatchTokenizerConfig)
    return options


def patch_tokens(checkpoint: Checkpoint) -> int:
    """Patches of one picture."""
    return encoder_options(checkpoint).patch_tokens(checkpoint.config.modalities[0])


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
    windows = math.prod(encoder_options(checkpoint).window_grid(checkpoint.config.modalities[0]))
    counts = [count * max(1, round(windows / WINDOWS)) for count in (8, 4, 2)]

    def with_policy(**options: Any) -> StreamSetUp:
        return StreamSetUp(replace(alone, policy=StreamPolicy(**options)).make_stream, part)

    return {
        PLAIN: StreamSetUp(stream_controls.plain, part),
        "change detection": StreamSetUp(alone.make_stream, part),
        "every change": with_policy(kind="threshold"),
        **{f"at most {count} windows": with_policy(kind="top_k", most_windows=count) for count in counts},
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
