"""Which windows count as changed: noise, holes, motion that is slow, and the same rule in numpy and in torch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stream_maker import SPEC, STEM, still_room, with_box

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.model.tokenizer_config import tokenizer_config
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.streaming.change_detection import ChangeDetector
from sentryfuse_ros.streaming.change_rule import ChangeRule
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.training.stale_tokens import encoded_anew, patch_view

OPTIONS = tokenizer_config(SPEC, STEM)


def detector(**rule):
    return ChangeDetector(SPEC, OPTIONS, ChangeRule(**rule))


def changed_windows(found, picture):
    found.see(picture)
    return found.compare().changed


def hold(found, picture, windows=None):
    found.see(picture)
    found.hold(windows)


def test_noise_alone_changes_next_to_nothing():
    frames, found = still_room(30, np.random.default_rng(0)), detector()
    hold(found, frames[0])
    counts = [len(changed_windows(found, frame)) for frame in frames[1:]]
    assert sum(counts) <= 0.02 * 36 * len(counts)


def test_the_windows_that_a_box_leaves_and_enters_change():
    frames = with_box(still_room(2, np.random.default_rng(0)), [32, 64], top=32)
    found = detector()
    hold(found, frames[0])
    assert changed_windows(found, frames[1]) == [2 * 6 + 2, 2 * 6 + 4]


def test_only_the_windows_that_are_held_anew_are_compared_with_the_new_picture():
    frames = with_box(still_room(2, np.random.default_rng(0)), [32, 64], top=32)
    found = detector()
    hold(found, frames[0])
    hold(found, frames[1], np.array([14]))
    assert changed_windows(found, frames[1]) == [16]
    assert changed_windows(found, frames[0]) == [14]


def test_pixels_that_lose_their_return_are_a_change():
    frames, found = still_room(2, np.random.default_rng(0)), detector()
    hold(found, frames[0])
    frames[1, 0, :4, :8] = 0  # half of a patch
    assert changed_windows(found, frames[1]) == [0]


def test_holes_that_come_and_go_are_none_where_few():
    rng = np.random.default_rng(0)
    frames, found = still_room(10, rng), detector()
    frames[rng.random(frames.shape) < 0.01] = 0
    hold(found, frames[0])
    assert sum(len(changed_windows(found, frame)) for frame in frames[1:]) <= 3


def test_the_shipped_rule_takes_an_edge_that_flickers_for_noise():
    """At the edge of a person who stands still, pixels lose their return at random."""
    rng = np.random.default_rng(0)
    frames = still_room(40, rng)
    edge = frames[:, :, :, 40:44]
    edge[rng.random(edge.shape) < 0.25] = 0
    shipped = StreamConfig.from_dict(read_checkpoint(model_path("utd_mhad_stream")).info["streaming"]).rule
    assert shipped is not None

    def share(rule):  # of the six windows of the edge
        found = ChangeDetector(SPEC, OPTIONS, rule)
        hold(found, frames[0])
        return np.mean([len(changed_windows(found, frame)) / 6 for frame in frames[1:]])

    assert share(shipped) < 0.1
    assert share(replace(shipped, flipped_share=0.2)) > 0.3


def test_slow_motion_is_not_learnt_as_noise():
    """A surface that comes nearer by 1 mm a picture is noticed before it has come 6 cm, and again and again after that."""
    rng, found = np.random.default_rng(0), detector()
    frames = still_room(150, rng)
    frames[:, 0, 16:32, 16:32] -= 0.001 * np.arange(150, dtype=np.float32)[:, None, None]
    hold(found, frames[0])
    at = []
    for t, frame in enumerate(frames[1:], 1):
        if 7 in changed_windows(found, frame):
            at.append(t)
            hold(found, frame, np.array([7]))
    assert at and at[0] < 60 and len(at) >= 2


def test_a_noisier_sensor_is_learnt_up_to_the_cap():
    rng, found = np.random.default_rng(0), detector()
    frames = still_room(200, rng, noise=1.6)
    hold(found, frames[0])
    counts = [len(changed_windows(found, frame)) for frame in frames[1:]]
    assert np.mean(counts[-50:]) < 1


def test_factor_0_counts_everything_as_changed():
    frames, found = still_room(2, np.random.default_rng(0)), detector(factor=0)
    hold(found, frames[0])
    assert changed_windows(found, frames[0]) == list(range(36))


def test_brightness_has_no_holes():
    spec = ModalitySpec("m", "camera", 0.8, (8, 3, 96, 96), "rgb")
    found = ChangeDetector(spec, tokenizer_config(spec, STEM))
    picture = np.zeros((3, 96, 96), np.float32)
    hold(found, picture)
    assert changed_windows(found, picture) == []
    picture[1, 40:48, 80:88] = 0.2
    assert changed_windows(found, picture) == [2 * 6 + 5]


def test_a_rule_that_contradicts_itself_is_refused():
    with pytest.raises(ParameterError, match="noise_cap"):
        ChangeRule(noise_floor=0.1, noise_cap=0.01)


@pytest.mark.parametrize("row_step", (None, 4))
def test_training_and_robot_encode_the_same_windows(row_step):
    rng = np.random.default_rng(1)
    boxes = [None if t < 5 else 10 + 3 * t for t in range(20)]
    frames = with_box(still_room(20, rng), boxes)
    rule = ChangeRule(row_step=row_step)
    found, chosen = ChangeDetector(SPEC, OPTIONS, rule), []
    for frame in frames:
        if not found.holds_picture:
            hold(found, frame)
            chosen.append(list(range(36)))
            continue
        windows = changed_windows(found, frame)
        hold(found, frame, np.array(windows, int))
        chosen.append(windows)
    patches = patch_view(torch.from_numpy(frames[:, 0])[None], OPTIONS.patch, OPTIONS.window, rule.steps)
    valid, none = torch.ones(1, 20, dtype=torch.bool), torch.zeros(1, 20, dtype=torch.bool)
    trained = encoded_anew(
        patches, valid, rule, torch.tensor([36]), none, torch.zeros(1, 20, 36, dtype=torch.bool), torch.tensor([False])
    )
    assert [np.flatnonzero(row).tolist() for row in trained.anew[0].numpy()] == chosen
    assert 0 < len(chosen[10]) < 12


def test_clips_that_begin_late_start_with_a_whole_picture_and_hold_nothing_older():
    rng = np.random.default_rng(2)
    frames = torch.from_numpy(still_room(6, rng)[:, 0])[None].repeat(2, 1, 1, 1)
    valid = torch.ones(2, 6, dtype=torch.bool)
    valid[1, :3] = False
    patches = patch_view(frames, OPTIONS.patch, OPTIONS.window)
    none, still = torch.zeros(2, 6, dtype=torch.bool), torch.tensor([False, False])
    found = encoded_anew(
        patches, valid, ChangeRule(), torch.tensor([36, 36]), none, torch.zeros(2, 6, 36, dtype=torch.bool), still
    )
    assert found.anew[0, 0].all() and found.anew[1, 3].all() and not found.anew[1, :3].any()
    assert found.source[1, 3:].min() == 3


@pytest.mark.parametrize("rule", ({}, {"row_step": 4}))
def test_texture_is_the_mean_step_between_neighbours_inside_windows(rule):
    picture = np.random.default_rng(0).random((1, 96, 96)).astype(np.float32)
    found = ChangeDetector(SPEC, OPTIONS, ChangeRule(**rule), texture=True)
    hold(found, picture)
    found.see(picture)
    inside = picture[0, ::4, ::2].reshape(24, 6, 8)
    assert found.compare().texture == pytest.approx(np.abs(np.diff(inside)).mean() / 0.8, rel=1e-5)


@pytest.mark.parametrize("name", ("pixel_step", "row_step"))
def test_a_step_that_does_not_divide_a_patch_is_refused(name):
    with pytest.raises(ParameterError, match=name):
        detector(**{name: 3})
