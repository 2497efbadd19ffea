"""The streams that a training makes by a model's policy and router, beside those that the robot makes of the same pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stream_maker import SPEC, still_room, stream_parts, with_box

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.streaming.branches import Branch
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.training.depth_clips import Clips
from sentryfuse_ros.training.routed_streams import deployed_streams, routed_streams, textures
from sentryfuse_ros.training.stale_tokens import patch_view
from sentryfuse_ros.training.stream_recipe import StreamRecipe
from sentryfuse_ros.training.stream_run import stream_to_follow

RECORDING = 24  # pictures
EMPTY_SLOTS = 3


def shipped_stream():
    """As the shipped model streams, with the router at every ratio and a camera that is known to stand."""
    config = StreamConfig.from_dict(read_checkpoint(model_path("utd_mhad_stream")).info["streaming"])
    return replace(config, route_from_ratio=0.0, watch_motion=False)


def as_on_the_robot(config, pictures, ratio, confidence):
    """Branches of pictures, and for each window the number of the picture whose code stands for it (pictures, windows)."""
    _, encoder, _ = stream_parts()
    stream = config.make_stream(encoder)
    branches, held, anew = [], np.zeros((len(pictures), encoder.windows), int), []
    hold = stream._detector.hold

    def note(windows=None):
        anew.append(np.arange(encoder.windows) if windows is None else windows)
        hold(windows)

    stream._detector.hold = note
    for t, picture in enumerate(pictures):
        anew.clear()
        branches.append(int(stream.update(picture, ratio=ratio, confidence=float(confidence[t])).branch))
        held[t] = held[t - 1]
        for windows in anew:
            held[t, windows] = t
    return branches, held


@pytest.mark.parametrize("ratio", (0.0, 0.7))
@pytest.mark.parametrize("refresh", (0, 20))
def test_training_and_robot_take_the_same_branches_and_encode_the_same_windows(ratio, refresh):
    config = shipped_stream()
    assert config.weights is not None
    # Costs at which these recordings take both branches: with those that ship, few pictures are reused.
    weights = replace(config.weights, costs=(0.0, 0.12, 0.5))
    config = replace(config, policy=replace(config.policy, refresh_pictures=refresh), weights=weights)
    rng = np.random.default_rng(3)
    shows = [None if t < 8 else 10 + 3 * t if t < 16 else 58 for t in range(RECORDING)]
    boxes = {"size": 16}, {"size": 34}, {"size": 8, "depth": 2.9}
    recordings = [with_box(still_room(RECORDING, rng), shows, **box) for box in boxes]
    # The last one changes as a whole, as a picture does when somebody steps in front of the camera.
    recordings.append(still_room(RECORDING, rng))
    recordings[-1][12:] -= 0.5
    confidence = rng.random((len(recordings), RECORDING)).astype(np.float32)
    depth = torch.zeros(len(recordings), EMPTY_SLOTS + RECORDING, 96, 96)
    valid = torch.zeros(depth.shape[:2], dtype=torch.bool)
    told = torch.zeros(depth.shape[:2])
    depth[:, EMPTY_SLOTS:] = torch.from_numpy(np.stack(recordings)[:, :, 0])
    valid[:, EMPTY_SLOTS:], told[:, EMPTY_SLOTS:] = True, torch.from_numpy(confidence)
    rough = textures(depth, valid, SPEC.std[0], config.rule, 16)
    patches = patch_view(depth, 8, 2, config.rule.steps)
    every = torch.ones(len(recordings), dtype=torch.bool)
    branches, encoded = routed_streams(config, patches, valid, rough, every * ratio, told, every)
    taken = set()
    for i, recording in enumerate(recordings):
        expected, held = as_on_the_robot(config, recording, ratio, confidence[i])
        assert branches[i, EMPTY_SLOTS:].tolist() == expected
        np.testing.assert_array_equal(encoded.source[i, EMPTY_SLOTS:].numpy() - EMPTY_SLOTS, held)
        taken |= set(expected[1:])
    assert taken >= {Branch.REUSE, Branch.LIGHT}


def test_streams_without_router_are_those_of_the_change_detection_alone():
    config, rng = shipped_stream(), np.random.default_rng(4)
    recording = with_box(still_room(RECORDING, rng), [None if t < 8 else 2 * t for t in range(RECORDING)], size=34)
    depth, told = torch.from_numpy(recording[:, 0])[None], torch.full((1, RECORDING), 0.9)
    valid, routes = torch.ones(1, RECORDING, dtype=torch.bool), torch.zeros(1, dtype=torch.bool)
    patches, rough = patch_view(depth, 8, 2, config.rule.steps), textures(depth, valid, SPEC.std[0], config.rule, 16)
    branches, encoded = routed_streams(config, patches, valid, rough, torch.zeros(1), told, routes)
    expected, held = as_on_the_robot(replace(config, router="none"), recording, 0.0, told[0])
    assert branches[0].tolist() == expected == [Branch.FULL] * RECORDING
    np.testing.assert_array_equal(encoded.source[0].numpy(), held)


def test_a_training_draws_streams_at_many_ratios_of_which_half_are_at_a_high_one():
    config = shipped_stream()
    config = replace(config, policy=replace(config.policy, most_share=0.25, refresh_pictures=0))
    rng = np.random.default_rng(5)
    shows = [None if t < 4 else 10 + 3 * t for t in range(16)]
    depth = torch.from_numpy(with_box(still_room(16, rng), shows, size=34)[:, 0]).repeat(40, 1, 1, 1)
    clips = Clips(depth, torch.ones(40, 16, dtype=torch.bool), torch.zeros(40), torch.zeros(40, 16, 60))
    source, light = deployed_streams(clips, config, 8, 2, SPEC.std[0], torch.Generator().manual_seed(0))
    anew = source == torch.arange(16).view(1, -1, 1)
    assert anew[:, 0].all() and not light[:, 0].any()
    most = anew[:, 1:].sum(-1).amax(1)  # windows of a picture, in each clip
    assert (most == config.policy.limit(36, 0.7)).float().mean() >= 0.4
    assert config.policy.limit(36, 0.0) in most and most.max() == config.policy.limit(36, 0.0)
    assert light.any() and not light[:, 1:].all()


def test_streams_that_follow_a_router_need_a_learned_one():
    section = read_checkpoint(model_path("utd_mhad_stream")).info["streaming"]
    assert stream_to_follow(StreamRecipe(), {}) is None
    assert stream_to_follow(StreamRecipe(paired=True, routed=0.5), section).route_from_ratio == 0
    for missing in ({}, {**section, "router": "threshold"}):
        with pytest.raises(ParameterError, match="learned router"):
            stream_to_follow(StreamRecipe(paired=True, routed=0.5), missing)
