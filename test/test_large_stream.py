"""The shipped model of larger pictures: the same numbers as in torch, few windows where little changes, and an explicit reset."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.model.saved import network_of
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.streaming.branches import Branch
from sentryfuse_ros.streaming.camera_stream import CameraStream
from sentryfuse_ros.streaming.stream_classifier import StreamClassifier
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.streaming.window_encoder import WindowEncoder

SLOTS = 32


@pytest.fixture(scope="module")
def checkpoint():
    return read_checkpoint(model_path("utd_mhad_stream_large"))


@pytest.fixture(scope="module")
def pictures():
    """A wall 3 m away with the noise of a depth camera, and a box before it that moves from the third picture on."""
    rng = np.random.default_rng(0)
    depth = 3 + 0.0128 * rng.standard_normal((8, 1, 240, 320))
    for t, picture in enumerate(depth):
        left = 100 + 6 * max(t - 2, 0)
        picture[0, 80:160, left : left + 32] = 2
    depth[rng.random(depth.shape) < 0.003] = 0
    return depth.astype(np.float32)


def test_its_numbers_are_those_of_torch(checkpoint, pictures):
    model, encoder = network_of(checkpoint), WindowEncoder(checkpoint, "camera")
    assert encoder.windows == 300 and encoder.options.patch_tokens(encoder.spec) == 1200
    window = torch.zeros(1, SLOTS, 1, 240, 320)
    seen = torch.from_numpy(pictures)
    window[0, -len(seen) :] = torch.where(seen > 0, (seen - 2.8) / 0.8, 0.0)
    with torch.no_grad():
        expected = model({"camera": window}).logits[0]
    run = StreamClassifier(checkpoint, CameraStream(encoder), whole_stems(checkpoint.config, (True,), 0.0))
    for picture in pictures:
        found = run.update(picture).logits
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_its_stream_encodes_what_moves_and_begins_anew_after_a_reset(checkpoint, pictures):
    config = StreamConfig.from_dict(checkpoint.info["streaming"])
    assert config.by_default and config.router == "learned"
    # The camera is known to stand: in so bare a room the windows would take the box for motion of the camera.
    stream = replace(config, watch_motion=False).make_stream(WindowEncoder(checkpoint, "camera"))
    first, still, _, *moving = (stream.update(picture) for picture in pictures)
    assert first.encoded == 300 and first.branch == Branch.FULL
    assert still.encoded < 15  # the refresh, and noise at the edges of the box
    most = config.policy.limit(300, 0.0) + 3  # and those whose turn it is
    assert all(5 < step.encoded <= most for step in moving)
    stream.reset()
    again = stream.update(pictures[0])
    assert again.encoded == 300
    np.testing.assert_array_equal(again.token, first.token)


def test_its_router_reuses_still_pictures_and_has_those_encoded_in_which_something_moves(checkpoint, pictures):
    config = StreamConfig.from_dict(checkpoint.info["streaming"])
    stream = replace(config, watch_motion=False).make_stream(WindowEncoder(checkpoint, "camera"))
    noise = np.random.default_rng(1)
    stream.update(pictures[0], ratio=0.7)
    still = [
        stream.update((pictures[0] + 0.012 * noise.standard_normal(pictures[0].shape)).astype(np.float32), ratio=0.7).branch
        for _ in range(12)
    ]
    assert still[-1] == Branch.REUSE
    moving = [stream.update(picture, ratio=0.7).branch for picture in pictures[3:]]
    assert min(moving) > Branch.REUSE
