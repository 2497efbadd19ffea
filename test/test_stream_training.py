"""Clips of people in simulated rooms, the training of a network on them, and the training of a router."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stream_maker import STEM
from tiny_model import tiny_config

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import checkpoint_of, save_checkpoint
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.simulation.depth_noise import NOISE_PER_M
from sentryfuse_ros.streaming.branches import Branch, LearnedRouter, RouterInput
from sentryfuse_ros.streaming.camera_stream import CameraStream
from sentryfuse_ros.streaming.change_rule import ChangeRule
from sentryfuse_ros.streaming.stream_classifier import StreamClassifier
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.streaming.window_encoder import WindowEncoder
from sentryfuse_ros.training import depth_clips, drawn_streams, stream_run
from sentryfuse_ros.training.depth_clips import DepthFrames
from sentryfuse_ros.training.depth_room import Pose, measured, place_people, random_rooms, render_rooms
from sentryfuse_ros.training.drawn_streams import StreamMix, random_stream
from sentryfuse_ros.training.routed_streams import routed_streams, textures
from sentryfuse_ros.training.router_training import router_examples, train_router
from sentryfuse_ros.training.stale_tokens import FULL, LIGHT, encoded_anew, patch_view
from sentryfuse_ros.training.stream_codes import STREAMS, CodeStore
from sentryfuse_ros.training.stream_pairs import PairTrainer, pair_of_codes
from sentryfuse_ros.training.stream_recipe import ReadoutRecipe, StreamRecipe, StreamTraining
from sentryfuse_ros.training.stream_run import train_stream
from sentryfuse_ros.training.stream_trainer import StreamTrainer, clip_logits, depth_windows
from sentryfuse_ros.validation import build

SPEC = ModalitySpec("depth", "camera", 1.2, (12, 1, 48, 48), "depth_m", mean=(2.8,), std=(0.8,))


def frames_of_arms():
    """Eight recordings of a body with an arm that is up (class 0) or down (class 1), 10 to 17 frames at 10 Hz."""
    depth, joints, first, ids = [], [], [0], []
    for i in range(8):
        length, down = 10 + i, i % 2
        people = np.zeros((length, 60, 80), np.int16)
        people[:, 15:55, 35:45] = 2500
        rows = slice(34, 38) if down else slice(17, 21)
        people[:, rows, 45:60] = 2400
        depth.append(people)
        position = np.zeros((length, 20, 3), np.float32)
        position[:, 0, 1] = 0.5 - down
        joints.append(position)
        first.append(first[-1] + length)
        ids.append((1 + down, i, 1))
    offset, ids = np.array(first), np.array(ids)
    tables = ({"data": np.concatenate(part), "offset": offset, "ids": ids} for part in (depth, joints))
    return DepthFrames.of_tables(*tables, 10.0, "cpu")


def network():
    torch.manual_seed(0)
    options = {**STEM, "grid": [2, 2], "frames_per_token": 2}
    return SentryFuse(
        tiny_config(modalities=(SPEC,), kv_stride={}, tokenizer={"depth": options}, fusion_sizes=[[2, 0.0], [1, 0.5]])
    )


def test_a_clip_ends_with_the_recording_and_fills_the_last_slots():
    frames = frames_of_arms()
    clips = frames.clips(
        torch.tensor([0, 7]), 12, (48, 48), 10.0, torch.Generator().manual_seed(0), pose=Pose(), speed=0.0, partial=0.0
    )
    assert clips.valid.sum(1).tolist() == [10, 12] and clips.valid[:, -1].all()
    assert clips.labels.tolist() == [0, 1]
    person = (clips.depth_m[0, -1] > 2.3) & (clips.depth_m[0, -1] < 2.6)
    assert person[20:36, 20:27].float().mean() > 0.9  # the body stands in the middle


def test_people_stand_before_the_room_and_a_wider_picture_shows_more_of_the_room_only():
    frames = frames_of_arms()
    people = frames.people_mm[:1].float()[None] * 1e-3
    random = torch.Generator().manual_seed(0)
    square = place_people(people, Pose(), (48, 48), random)[0, 0]
    wide = place_people(people, Pose(), (48, 64), random)[0, 0]
    torch.testing.assert_close(wide[:, 8:56], square)
    room = random_rooms(torch.tensor([2.5]), random)
    assert room.wall_m > 2.5 and render_rooms(room, (48, 64)).shape == (1, 48, 64)


def test_the_wall_of_a_clip_may_stand_as_near_as_that_of_the_bench_though_single_pixels_lie_farther(monkeypatch):
    frames = frames_of_arms()
    frames.people_mm[:, 50, 30] = 2780
    torch.testing.assert_close(frames.farthest_m, torch.full((8,), 2.5))
    drawn = []
    monkeypatch.setattr(depth_clips, "random_rooms", lambda far, random: drawn.append(far) or random_rooms(far, random))
    recordings, random = torch.arange(8).repeat(20), torch.Generator().manual_seed(0)
    frames.clips(recordings, 12, (48, 48), 10.0, random, pose=Pose(), speed=0.0, partial=0.0)
    behind = drawn[0] - 2.5  # `people_streams` asks for rooms at 0
    assert -0.021 < behind.min() < 0.02 and 0.22 < behind.max() <= 0.281 and 0.1 < behind.mean() < 0.16


def test_a_pan_moves_the_room():
    room = random_rooms(torch.tensor([2.5]), torch.Generator().manual_seed(0))
    still, moved = render_rooms(room, (48, 48)), render_rooms(room, (48, 48), torch.tensor([3.0]))
    torch.testing.assert_close(moved[..., 3:], still[..., :-3])


def test_noise_grows_with_the_square_of_the_depth():
    random = torch.Generator().manual_seed(0)
    for depth in (1.0, 3.0):
        seen = measured(torch.full((200, 48, 48), depth), random)
        seen = seen[seen > 0]
        # The steps of the resolution, two standard deviations wide, add their own share to the noise.
        assert seen.std().item() == pytest.approx(NOISE_PER_M * depth**2, rel=0.25)
        assert seen.mean().item() == pytest.approx(depth, rel=2e-3)


def test_people_who_are_drawn_much_larger_have_smooth_outlines_and_no_depths_beside_them():
    people = torch.zeros(1, 1, 20, 20)
    people[..., 5:15, 5:15] = torch.linspace(2, 3, 10)
    large = place_people(people, Pose(), (80, 80), torch.Generator().manual_seed(0))[0, 0]
    assert ((large > 0) == (F.interpolate((people > 0).float(), (80, 80)) > 0)[0, 0]).float().mean() > 0.99
    row = large[40, 22:58]
    torch.testing.assert_close(row, torch.linspace(2, 3, 10)[0] + (torch.arange(22, 58) + 0.5 - 22) / 4 / 9, atol=0.06, rtol=0)
    assert row.diff().min() > 0.02  # interpolated, not in blocks


@pytest.mark.parametrize("kind, options", ((StreamTrainer, {}), (PairTrainer, {"frugal": 0.5})))
def test_a_few_steps_teach_a_network_where_the_arm_is(kind, options):
    torch.manual_seed(1)
    frames = frames_of_arms()
    trainer = kind(network(), frames, range(8), StreamRecipe(batch=8, learning_rate=5e-3, ema_decay=0.5, **options), seed=0)
    batches = trainer.batches()
    reports = [trainer.step(next(batches), k / 160) for k in range(160)]
    assert np.mean([float(r.loss) for r in reports[-5:]]) < 0.6 * np.mean([float(r.loss) for r in reports[:5]])
    assert 0 < np.mean([float(r.anew) for r in reports]) < 0.8
    clips = frames.clips(
        torch.arange(8), 12, (48, 48), 10.0, torch.Generator().manual_seed(5), pose=Pose(), speed=0.0, partial=0.0
    )
    patches = patch_view(clips.depth_m, 8, 2)
    shape = patches.shape[:3]
    none = torch.zeros(shape[:2], dtype=torch.bool)
    whole = encoded_anew(
        patches, clips.valid, ChangeRule(), torch.full((8,), 9), none, torch.zeros(shape, dtype=torch.bool), torch.ones(8) > 0
    )
    found = clip_logits(trainer.ema_model, clips, whole, torch.full(shape[:2], FULL))
    assert (found.argmax(1) == clips.labels).float().mean() >= 0.75
    window = torch.where(clips.depth_m > 0, (clips.depth_m - 2.8) / 0.8, 0.0) * clips.valid[..., None, None]
    expected = trainer.ema_model.eval()({"depth": window.unsqueeze(2)}).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_codes_of_a_stream_are_those_of_the_whole_clip_at_their_pictures_but_where_the_light_branch_made_them():
    torch.manual_seed(0)
    model, frames, random = network().eval(), frames_of_arms(), torch.Generator().manual_seed(0)
    clips = frames.clips(torch.arange(8), 12, (48, 48), 10.0, random)
    source, light = random_stream(clips, model, random, frugal=0.5)
    assert light[clips.valid].any() and not light[clips.valid].all()
    dense, held = pair_of_codes(model, clips, source, light)
    tokenizer, windows = model.stems[0], depth_windows(model, clips.depth_m)
    for branch in (False, True):
        b, k, w = (of_branch(source, light, branch) & clips.valid.unsqueeze(-1)).nonzero().unbind(1)
        expected = tokenizer.encode(windows[b, source[b, k, w], w], int(branch))
        torch.testing.assert_close(held[b, k, w], expected)
    torch.testing.assert_close(dense[clips.valid].flatten(0, 1), tokenizer.encode(windows[clips.valid].flatten(0, 1)))


def of_branch(source, light, branch):
    """Windows (B, K, W) whose code the branch made."""
    return light.gather(1, source.flatten(1)).view_as(source) == branch


def test_a_frugal_stream_encodes_few_windows_and_only_the_first_picture_whole():
    model, frames, random = network(), frames_of_arms(), torch.Generator().manual_seed(0)
    clips = frames.clips(torch.arange(8), 12, (48, 48), 10.0, random, pose=Pose(), speed=0.0, partial=0.0)
    source, light = random_stream(clips, model, random, frugal=1.0)
    anew = (source == torch.arange(12).view(1, -1, 1)) & clips.valid.unsqueeze(-1)
    first = torch.cumsum(clips.valid, 1) == 1
    assert anew[first].all() and not light[first].any()
    later = clips.valid & ~first
    assert light[later].all()
    assert anew[later].sum(-1).float().mean() < 2.5  # of 9: one or two, and those whose turn it is


@pytest.mark.parametrize("ratio", (0.0, 0.7))
def test_codes_that_are_kept_make_the_streams_of_the_robot(ratio, tmp_path, monkeypatch):
    model, frames, confidence = network().eval(), frames_of_arms(), 0.6
    section = read_checkpoint(model_path("utd_mhad_stream")).info["streaming"]
    config = replace(StreamConfig.from_dict(section), route_from_ratio=0.0, watch_motion=False)
    config = replace(config, weights=replace(config.weights, costs=(0.0, 0.02, 5.0)))  # so that it takes the light branch
    seen, clips_of = [], frames.clips
    monkeypatch.setattr(frames, "clips", lambda *args, **options: seen.append(clips_of(*args, **options)) or seen[-1])

    def at_this_ratio(clips, config, patch, window, scale, random):
        told, every = torch.full(clips.valid.shape, confidence), torch.ones(len(clips.valid), dtype=torch.bool)
        rough = textures(clips.depth_m, clips.valid, scale, config.rule, patch * window)
        patches = patch_view(clips.depth_m, patch, window, config.rule.steps)
        branches, encoded = routed_streams(config, patches, clips.valid, rough, every * ratio, told, every)
        return encoded.source, branches == LIGHT

    monkeypatch.setattr(drawn_streams, "deployed_streams", at_this_ratio)
    store = CodeStore(tmp_path, range(8), 1, (12, 9, model.stems[0].options.code))
    store.build(model, frames, StreamMix(routed=1.0, streaming=config), "key", 0, str)
    (clips,), encoder, taken = seen, WindowEncoder(checkpoint_of(model), "depth"), set()
    for number in range(8):
        batch, stream = store.batch(np.array([number]), STREAMS - 1), config.make_stream(encoder)
        for t in clips.valid[number].nonzero()[:, 0].tolist():
            step = stream.update(clips.depth_m[number, t, None].numpy(), ratio=ratio, confidence=confidence)
            taken.add(step.branch)
            found = model.stems[0].read_out(batch.streamed[:, t])[0].detach().numpy()
            np.testing.assert_allclose(found, step.token, atol=2e-3)
    assert taken == set(Branch)


def test_a_router_learns_that_a_picture_with_more_change_is_worth_more():
    model = network().eval()
    checkpoint = checkpoint_of(model)
    encoder = WindowEncoder(checkpoint, "depth")
    classifier = StreamClassifier(checkpoint, CameraStream(encoder), whole_stems(model.config, (True,), 0.0))
    rng = np.random.default_rng(0)
    streams = []
    for _ in range(6):
        pictures = (3 + 0.013 * rng.standard_normal((20, 1, 48, 48))).astype(np.float32)
        pictures[10:, 0, 8:24, 8:24] -= rng.uniform(0.3, 1.5)
        streams.append(pictures)
    examples = router_examples(encoder, classifier, streams, ChangeRule())
    assert examples.features.shape == (6 * 19, 5) and examples.errors.shape == (6 * 19, 3)
    router = LearnedRouter(train_router(examples, (0.0, 0.01, 0.02)))
    calm, busy = (router.expected_errors(RouterInput(c, c / 20, 0.1, 0.9, 0.0)) for c in (0.8, 10.0))
    assert busy[0] > calm[0]


def test_a_recipe_says_how_strongly_people_are_moved(monkeypatch):
    recipe = build(StreamRecipe, {"pose": {"shift": [0.2, 0.0], "depth_m": 0.3}, "batch": 8}, "recipe", "correct it")
    given = []
    monkeypatch.setattr(
        depth_clips, "place_people", lambda people, pose, *rest: given.append(pose) or place_people(people, pose, *rest)
    )
    for some in (recipe, StreamRecipe(batch=8)):
        next(StreamTrainer(network(), frames_of_arms(), range(8), some, seed=0).batches())
    assert given == [Pose(shift=(0.2, 0.0), depth_m=0.3), depth_clips.TRAINING_POSE]


def test_codes_of_another_number_of_augmentations_are_made_anew(tmp_path):
    model, frames = network(), frames_of_arms()
    for rounds in (2, 1, 3):  # as where the recipe was changed after an interruption
        store = CodeStore(tmp_path, range(8), rounds, (12, 9, model.stems[0].options.code))
        store.build(model, frames, StreamMix(), "key", 0, str)
        found = store.batch(np.arange(len(store)), 0)
        assert found.dense.flatten(1).any(1).all() and found.labels.tolist() == [0, 1] * 4 * rounds


def test_codes_of_which_a_kill_left_a_part_are_made_anew(tmp_path):
    model, frames = network(), frames_of_arms()
    size = range(8), 1, (12, 9, model.stems[0].options.code)
    CodeStore(tmp_path, *size).build(model, frames, StreamMix(), "key", 0, str)
    (tmp_path / "codes.npy").write_bytes(b"")
    store = CodeStore(tmp_path, *size)
    store.build(model, frames, StreamMix(), "key", 0, str)
    assert store.batch(np.arange(8), 0).dense.flatten(1).any(1).all()


@pytest.fixture
def training(monkeypatch):
    """A training of the network above on the people above."""
    monkeypatch.setattr(stream_run, "load_frames", lambda device: frames_of_arms())
    monkeypatch.setattr(stream_run.utd_mhad, "CLASSES", ("up", "down"))
    config = network().config.to_dict()
    model = {key: value for key, value in config.items() if key not in ("modalities", "classes")}
    return StreamTraining(SPEC.to_dict(), model, train_subjects=(0, 1), readout=ReadoutRecipe(steps=1))


@pytest.mark.parametrize("changes", [{"train_subjects": (0, 99)}, {"validation_subjects": (99,)}])
def test_subjects_without_recordings_are_named_before_the_training(training, changes, tmp_path):
    with pytest.raises(ParameterError, match=rf"stream recipe {next(iter(changes))}: saw \[99\], expected among \[0, 1, 2"):
        train_stream(replace(training, **changes), tmp_path, str)


def test_a_stream_is_not_trained_on_nobody():
    with pytest.raises(ParameterError, match="train_subjects: saw .*, expected at least one subject"):
        StreamTraining({}, {}, train_subjects=())


def test_a_second_stage_does_not_begin_with_a_model_that_knows_the_validation_subjects(training, tmp_path):
    first = save_checkpoint(
        SentryFuse(replace(network().config, classes=("up", "down"))), tmp_path / "first", {"data": {"train_groups": [0, 1, 7]}}
    )
    with pytest.raises(ParameterError, match=r"--start-from: saw .*first, trained on \[7\]"):
        train_stream(replace(training, validation_subjects=(7,)), tmp_path / "out", str, start=first)
