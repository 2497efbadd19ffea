"""A camera's stream: exact where everything is encoded, few windows where little changes, and an explicit reset."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from stream_maker import SPEC, STEM, still_room, stream_parts, with_box
from tiny_model import tiny_config

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import checkpoint_of
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.runtime import onnx_read_out
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.streaming.branches import Branch, LearnedRouter, RouterInput, Steadiness, ThresholdRouter, Thresholds
from sentryfuse_ros.streaming.camera_stream import CameraStream
from sentryfuse_ros.streaming.change_detection import Change, ChangeDetector
from sentryfuse_ros.streaming.change_rule import ChangeRule
from sentryfuse_ros.streaming.ego_motion import EgoMotion
from sentryfuse_ros.streaming.motion_vote import MotionLimits, MotionVote
from sentryfuse_ros.streaming.policy import StreamPolicy
from sentryfuse_ros.streaming.stream_classifier import StreamClassifier
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.streaming.window_encoder import KnownPicture, WindowEncoder

ALL_THE_TIME = StreamPolicy(refresh_pictures=0)


def moving_box(count=12, seed=0):
    return with_box(still_room(count, np.random.default_rng(seed)), [10 + 4 * t for t in range(count)])


def test_threshold_0_is_the_plain_encoder_to_the_last_bit():
    model, encoder, _ = stream_parts()
    every = CameraStream(encoder, ChangeDetector(SPEC, encoder.options, ChangeRule(factor=0)), ALL_THE_TIME)
    plain = CameraStream(encoder)
    for picture in moving_box():
        np.testing.assert_array_equal(every.update(picture).token, plain.update(picture).token)


@pytest.mark.parametrize("size", (0, 1))
def test_some_windows_have_the_same_codes_as_among_all(size):
    _, encoder, _ = stream_parts()
    picture = moving_box()[3]
    everything = encoder.encode(picture, size).codes
    for chosen in ([5], [0, 7, 35], list(range(0, 36, 2))):
        before = encoder.blank()
        before.codes[:-1] = 7
        codes = encoder.renew(before, picture, np.array(chosen), size).codes
        np.testing.assert_array_equal(codes[chosen], everything[chosen])
        assert (np.delete(codes, [*chosen, 36], 0) == 7).all() and (before.codes[:-1] == 7).all()
        assert not codes[-1].any()  # what is outside of the picture


@pytest.mark.parametrize(
    "read",
    [
        {"read_channels": [5, 4], "grid": [2, 2]},
        {"read_channels": [5, 4], "grid": [1, 2]},
        {"read_channels": 5, "grid": [2, 1]},
        {"read_channels": [4, 5, 3], "grid": [1, 1]},
    ],
)
@pytest.mark.parametrize("few_places", (0, 9))
def test_any_read_out_is_that_of_torch_and_needs_only_what_sees_a_new_code(read, few_places, monkeypatch):
    monkeypatch.setattr(onnx_read_out, "FEW_PLACES", few_places)
    torch.manual_seed(0)
    stem = {**STEM, **read}
    model = SentryFuse(tiny_config(modalities=(SPEC,), kv_stride={}, tokenizer={"depth": stem})).eval().requires_grad_(False)
    encoder, tokenizer = WindowEncoder(checkpoint_of(model), "depth"), model.stems[0]
    every = CameraStream(encoder, ChangeDetector(SPEC, encoder.options, ChangeRule(factor=0)), ALL_THE_TIME)
    known = encoder.blank()
    assert len(known.features) == (0 if few_places else 10)
    for picture in moving_box(3):
        z = torch.from_numpy(np.where(picture > 0, (picture - 2.8) / 0.8, 0).astype(np.float32))[None]
        for size in (0, 1):
            expected = tokenizer.read_out(tokenizer.encode(tokenizer.windows(z)[0], size)[None])[0]
            np.testing.assert_allclose(encoder.encode(picture, size).token, expected, atol=1e-5)
        whole = encoder.encode(picture)
        np.testing.assert_array_equal(every.update(picture).token, whole.token)
        for part in ([35, 7], [0], range(1, 7), range(8, 20), range(20, 35)):
            known = encoder.renew(known, picture, np.array(part))
            read_by_torch = tokenizer.read_out(torch.from_numpy(known.codes[:-1])[None])[0]
            if known.codes[:-1].any(1).all():  # once every window was encoded
                np.testing.assert_allclose(known.token, read_by_torch, atol=1e-5)
        for found, expected in zip(known, whole):
            np.testing.assert_array_equal(found, expected)


def test_what_a_stream_knows_is_what_the_encoder_makes_of_the_codes_before():
    _, encoder, _ = stream_parts()
    known, before = KnownPicture(encoder), encoder.blank()
    found, expected = [], []
    backwards = list(range(36))[::-1]  # all of them, too, may come in any order
    orders = (None, [3], [35, 0, 7], None, [7], [9, 8], backwards, None, backwards)
    for picture, chosen, size in zip(moving_box(9), orders, (0, 0, 1, 1, 0, 0, 0, 0, 1)):
        windows = np.arange(36) if chosen is None else np.array(chosen)
        before = encoder.renew(before, picture, windows, size)
        found.append(known.renew(picture, None if chosen is None else windows, size))
        expected.append(before.token)
    np.testing.assert_array_equal(found, expected)  # those of earlier pictures, too


@pytest.mark.parametrize("frames_per_token", (1, 2))
def test_the_plain_stream_is_torchs_network_from_its_first_picture_on(frames_per_token):
    torch.manual_seed(0)
    stem = {**STEM, "frames_per_token": frames_per_token}
    model = SentryFuse(tiny_config(modalities=(SPEC,), kv_stride={}, tokenizer={"depth": stem})).eval().requires_grad_(False)
    stream = CameraStream(WindowEncoder(checkpoint_of(model), "depth"))
    classifier = StreamClassifier(checkpoint_of(model), stream, whole_stems(model.config, (True,), 0.0))
    pictures = moving_box(10)
    z = np.where(pictures > 0, (pictures - 2.8) / 0.8, 0).astype(np.float32)
    for _ in range(2):
        window = np.zeros((8, 1, 96, 96), np.float32)
        for picture, newest in zip(pictures, z):
            window = np.concatenate([window[1:], newest[None]])
            expected = model({"depth": torch.from_numpy(window)[None]}).logits[0].numpy()
            np.testing.assert_allclose(classifier.update(picture).logits, expected, atol=1e-4)
        classifier.reset()


def test_a_still_scene_costs_next_to_nothing_and_a_moving_one_some_windows():
    _, encoder, stream = stream_parts(policy=ALL_THE_TIME)
    still = [stream.update(picture) for picture in still_room(20, np.random.default_rng(0))]
    assert still[0].dense and sum(step.encoded for step in still[1:]) <= 0.02 * 36 * 19
    moving = [stream.update(picture) for picture in moving_box(20)]
    assert 2 <= np.mean([step.encoded for step in moving[1:]]) <= 9


def test_every_window_is_refreshed_in_turn():
    _, encoder, stream = stream_parts(policy=StreamPolicy(refresh_pictures=9))
    steps = [stream.update(picture) for picture in still_room(10, np.random.default_rng(0), noise=0.1)]
    assert [step.encoded for step in steps[1:]] == [4] * 9


def test_no_window_loses_its_turn_where_pictures_are_reused(monkeypatch):
    class EverySecondPicture:
        branch = Branch.FULL

        def choose(self, given):
            self.branch = Branch.REUSE if self.branch == Branch.FULL else Branch.FULL
            return self.branch

        def reset(self):
            pass

    _, encoder, stream = stream_parts(policy=StreamPolicy(refresh_pictures=9), router=EverySecondPicture())
    renew, renewed = stream._known.renew, []

    def noted(picture, windows=None, size=0):
        renewed.append(windows)
        return renew(picture, windows, size)

    monkeypatch.setattr(stream._known, "renew", noted)
    steps = [stream.update(picture) for picture in still_room(19, np.random.default_rng(0), noise=0.1)]
    assert [step.encoded for step in steps[1:]] == [0, 4] * 9
    assert renewed[0] is None and sorted(k for windows in renewed[1:] for k in windows) == list(range(36))


@pytest.mark.parametrize(
    "policy, ratio, most",
    [
        (StreamPolicy("top_k", most_windows=2, refresh_pictures=0), 0.0, 2),
        (StreamPolicy("budget", most_share=0.2, refresh_pictures=0), 0.0, 7),
        (StreamPolicy("budget", most_share=0.2, refresh_pictures=0), 0.5, 6),
        (StreamPolicy("budget", most_share=0.2, refresh_pictures=0), 0.9, 5),
        (StreamPolicy("budget", most_share=0.2, left_at_1=0.2, refresh_pictures=0), 0.0, 7),
        (StreamPolicy("budget", most_share=0.2, left_at_1=0.2, refresh_pictures=0), 0.75, 2),
    ],
)
def test_a_budget_bounds_the_windows_and_a_higher_ratio_means_fewer(policy, ratio, most):
    _, _, stream = stream_parts(policy=policy)
    frames = still_room(2, np.random.default_rng(0))
    frames[1, 0, :48] -= 0.5  # half of the picture changes
    stream.update(frames[0])
    assert stream.update(frames[1], ratio=ratio).encoded == most


def test_the_most_changed_windows_come_first():
    _, encoder, stream = stream_parts(policy=StreamPolicy("top_k", most_windows=1, refresh_pictures=0))
    frames = still_room(2, np.random.default_rng(0))
    frames[1, 0, :16, :16] -= 0.2
    frames[1, 0, 32:48, 32:48] -= 0.6
    first = stream.update(frames[0]).token.copy()
    expected = encoder.renew(encoder.encode(frames[0]), frames[1], np.array([14]))
    step = stream.update(frames[1])
    np.testing.assert_array_equal(step.token, expected.token)
    assert not np.array_equal(step.token, first)


def test_windows_that_changed_as_much_take_turns():
    """Scores of pixels that lost their return come in steps, so that equal ones are common."""
    change = Change([1.25, 0.5, 1.25, 3.0, 1.25], [0, 2, 3, 4], 2.0)
    policy = StreamPolicy("top_k", most_windows=2, refresh_pictures=0, dense_above=0.9)
    found = [policy.choose(change, count) for count in range(6)]
    assert [sorted(windows) for windows in found] == [[0, 3], [2, 3], [2, 3], [3, 4], [3, 4], [0, 3]]


def test_there_is_no_vote_while_fewer_windows_have_changed_than_must_agree():
    scene = np.repeat(2.5 + 0.4 * np.sin(np.arange(120, dtype=np.float32) / 3.0)[None], 96, 0)
    for changed, expected in ((3, False), (4, True), (None, True)):
        motion = EgoMotion(MotionVote((6, 6), (16, 16)))
        assert not motion.moving(by_window(scene[:, :96]))
        assert not motion.moving(by_window(scene[:, 1:97]), changed=changed)  # there is a vote at every second picture only
        assert motion.moving(by_window(scene[:, 2:98]), changed=changed) is expected


@pytest.mark.parametrize(
    "policy", [StreamPolicy(), StreamPolicy("top_k", most_windows=2), StreamPolicy("budget", most_share=0.1)]
)
def test_a_picture_that_changed_nearly_everywhere_is_encoded_whole(policy):
    _, _, stream = stream_parts(policy=policy)
    frames = still_room(2, np.random.default_rng(0))
    frames[1] -= 0.5
    stream.update(frames[0])
    assert stream.update(frames[1]).dense


def test_a_camera_that_drives_is_hardly_ever_compared_until_it_stands():
    """What it sees has no shift that windows could agree on; comparing costs time and finds everything changed."""
    rng = np.random.default_rng(0)
    _, encoder, _ = stream_parts()
    motion = EgoMotion(MotionVote((6, 6), (8, 8)))
    stream = CameraStream(encoder, ChangeDetector(SPEC, encoder.options), motion=motion)
    driving = [stream.update(rng.uniform(1, 3, (1, 96, 96)).astype(np.float32)) for _ in range(60)]
    assert all(step.dense for step in driving) and sum(np.isfinite(step.change) for step in driving) <= 9
    assert sum(step.moving for step in driving[10:]) >= 35
    standing = [stream.update(picture) for picture in still_room(14, rng)]
    assert not standing[-1].dense and not standing[-1].moving and sum(step.dense for step in standing) <= 11
    known_to_stand = [stream.update(rng.uniform(1, 3, (1, 96, 96)).astype(np.float32), speed_m_s=0.0) for _ in range(5)]
    assert all(np.isfinite(step.change) and not step.moving for step in known_to_stand)


def test_reset_makes_the_next_picture_a_first_one():
    _, encoder, stream = stream_parts()
    frames = still_room(3, np.random.default_rng(0))
    stream.update(frames[0])
    assert not stream.update(frames[1]).dense
    stream.reset()
    assert stream.update(frames[2]).dense


def test_branches_reuse_light_and_full():
    router = ThresholdRouter(Thresholds(light=1.5, full=4.0), Steadiness(margin=0.0))
    _, encoder, stream = stream_parts(policy=ALL_THE_TIME, router=router)
    frames = still_room(9, np.random.default_rng(0))
    token = [stream.update(frame) for frame in frames[:5]][-1]
    assert token.branch == Branch.REUSE and token.encoded == 0
    frames[5:, 0, :16, :16] -= 0.07
    light = stream.update(frames[5])
    assert (light.branch, light.encoded) == (Branch.LIGHT, 1)
    frames[6:, 0, 32:48, 32:48] -= 1.0
    assert stream.update(frames[6]).branch == Branch.FULL
    # A cheaper branch must be wanted for three pictures in a row.
    assert [stream.update(frames[k]).branch for k in (7, 8, 8)] == [Branch.FULL, Branch.FULL, Branch.REUSE]


def test_the_learned_router_is_the_perceptron_of_its_weights():
    weights = StreamConfig.from_dict(read_checkpoint(model_path("utd_mhad_stream")).info["streaming"]).weights
    for change, share, texture, confidence, ratio in np.random.default_rng(0).uniform(0, (20, 1, 0.5, 1, 1), (20, 5)).tolist():
        given = RouterInput(change, share, texture, confidence, ratio)
        x = (np.array(given.features()) - weights.mean) / weights.scale
        unit = np.tanh(np.array(weights.hidden) @ x + weights.hidden_bias)
        expected = np.log1p(np.exp(np.array(weights.out) @ unit + weights.out_bias))
        router = LearnedRouter(weights, Steadiness(dwell_pictures=1, margin=0.0))
        np.testing.assert_allclose(router.expected_errors(given), expected, rtol=1e-9)
        wanted = ([*expected, 0.0] + np.array(weights.costs) * (1 + ratio)).argmin()
        assert router.choose(given) == wanted


WEIGHTS = {
    "hidden": [[1.0] * 5] * 2,
    "hidden_bias": [0.0] * 2,
    "out": [[1.0] * 2] * 2,
    "out_bias": [0.0] * 2,
    "mean": [0.0] * 5,
    "scale": [1.0] * 5,
    "costs": [0.0, 0.1, 0.2],
}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"hidden": [[1.0] * 4] * 2}, r"hidden: saw rows of \[4, 4\], expected 2 rows of 5 numbers"),
        ({"out": [[1.0] * 2]}, r"out: saw rows of \[2\], expected 2 rows of 2 numbers"),
        ({"hidden_bias": [0.0]}, "hidden_bias: saw 1 numbers, expected 2 numbers"),
        ({"mean": [0.0] * 6}, "mean: saw 6 numbers, expected 5 numbers"),
        ({"scale": [1.0, 1.0, 0.0, 1.0, 1.0]}, "scale: saw 0.0, expected numbers above 0"),
    ],
)
def test_weights_of_a_router_that_do_not_fit_together_are_named(wrong, named):
    assert StreamConfig.from_dict({"router": "learned", "weights": WEIGHTS}).make_router().choose(RouterInput(1, 1, 1, 1, 0)) >= 0
    with pytest.raises(ParameterError, match=f"router weights {named}; take them from the training again"):
        StreamConfig.from_dict({"router": "learned", "weights": {**WEIGHTS, **wrong}})


def test_a_learned_router_without_weights_does_not_pass_for_none():
    with pytest.raises(
        ParameterError, match="streaming router: saw learned, without weights, expected weights beside it, or router: none"
    ):
        StreamConfig.from_dict({"router": "learned"}).make_router()


def test_a_router_waits_until_none_but_cheaper_branches_were_wanted_and_takes_the_last():
    router = ThresholdRouter(Thresholds(light=2.0, full=5.0), Steadiness(dwell_pictures=3, margin=0.0))
    changes = [9, 3, 3, 9, 3, 3, 1, 1, 1, 3]  # full, light, light, full, light, light, reuse, reuse, reuse, light
    taken = [router.choose(RouterInput(change, 0.1, 0.0, 1.0, 0.0)) for change in changes]
    assert taken == [Branch.FULL] * 6 + [Branch.REUSE] * 3 + [Branch.LIGHT]


def test_a_gyro_makes_the_stream_dense_at_once_and_for_a_while():
    _, encoder, _ = stream_parts()
    motion = EgoMotion(MotionVote((6, 6), (8, 8)))
    stream = CameraStream(encoder, ChangeDetector(SPEC, encoder.options), motion=motion)
    frames = still_room(8, np.random.default_rng(0))
    turns = [0.0, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0]
    dense = [stream.update(frame, turn_rad_s=turn).dense for frame, turn in zip(frames, turns)]
    # Three pictures from the last sign of motion on, and the first still one, with which later ones are compared.
    assert dense == [True, False, True, True, True, True, False, False]


def by_window(picture, side=16):
    """(H, W) -> (windows, side * side)."""
    rows, columns = (size // side for size in picture.shape)
    return picture.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(rows * columns, -1)


@pytest.mark.parametrize("step_px", (1, 2, 3))
def test_without_a_gyro_the_windows_see_a_pan(step_px):
    rng = np.random.default_rng(0)
    wide = 2.5 + 0.4 * np.sin(np.arange(300) / 3.0) * (np.arange(300) % 29 < 14)
    wide = np.repeat(wide[None].astype(np.float32), 96, 0)
    vote = EgoMotion(MotionVote((6, 6), (16, 16)))
    noise = 0.01 * rng.standard_normal((10, 96, 96)).astype(np.float32)
    still = [vote.moving(by_window(wide[:, :96] + now)) for now in noise]
    pan = [vote.moving(by_window(wide[:, t * step_px : t * step_px + 96])) for t in range(1, 6)]
    assert not any(still) and any(pan[:3])


def votes(pictures, grid=(6, 6), side=16, limits=None):
    """Of every picture (T, H, W) whether it moved, worked out in numpy window by window: what `MotionVote` must find."""
    limits, key, found = limits or MotionLimits(), None, []
    most = limits.most_shift
    for picture in pictures:
        cut = picture.reshape(grid[0], side, grid[1], side)
        share = np.maximum((cut > 0).mean(1), 1e-3), np.maximum((cut > 0).mean(3), 1e-3)
        across = (cut.mean(1) / share[0]).reshape(grid[0], -1)
        down = (cut.mean(3) / share[1]).reshape(-1, grid[1]).T
        ways, told = np.zeros(4), 0
        for axis, (now, before) in enumerate(zip((across, down), key or (across, down))):
            length = now.shape[1]
            for band in range(len(now)):
                for first in range(most, length - most - side // 2, side):
                    stop = first + side if first + side < length - most - side // 2 else length - most
                    off = [np.abs(now[band, first + k : stop + k] - before[band, first:stop]) for k in range(-most, most + 1)]
                    cost = np.array([np.minimum(x, 0.2).sum() / side for x in off])
                    tells = cost.max() - cost.min() > limits.least_contrast
                    told += tells
                    if tells and cost[most] > 1.3 * cost.min() + 0.002:
                        ways[2 * axis + int(cost.argmin() > most)] += 1
        found.append(bool(key is not None and ways.max() >= max(limits.agreeing, limits.agreeing_share * told / 2)))
        if found[-1] or key is None:
            key = across, down
    return found


@pytest.mark.parametrize("grid", ((6, 6), (4, 7), (7, 5)))
@pytest.mark.parametrize("direction", ((0, 1), (0, -2), (1, 0), (-1, 0), (0, 0)))
def test_the_vote_is_what_numpy_finds_window_by_window(direction, grid):
    rng = np.random.default_rng(3)
    scene = np.kron(rng.uniform(1, 3, (20, 20)), np.ones((8, 8))).astype(np.float32)
    scene[rng.random(scene.shape) < 0.01] = 0
    rows, columns = 16 * grid[0], 16 * grid[1]
    pictures = [scene[30 + t * direction[0] :, 30 + t * direction[1] :][:rows, :columns] for t in range(10)]
    pictures += 0.01 * rng.standard_normal((10, rows, columns)).astype(np.float32) * (np.array(pictures) > 0)
    vote = MotionVote(grid, (16, 16))
    found = [vote.moved(by_window(picture)) for picture in pictures]
    assert found == votes(pictures, grid) and any(found) == any(direction)


def test_while_the_camera_moves_there_is_a_vote_only_when_the_last_sign_no_longer_counts():
    scene = np.repeat(2.5 + 0.4 * np.sin(np.arange(140, dtype=np.float32) / 3.0)[None], 96, 0)
    motion = EgoMotion(MotionVote((6, 6), (16, 16)))
    voted, moving = [], []
    for left in (0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6):
        voted.append(motion.votes_now)
        moving.append(motion.moving(by_window(scene[:, left : left + 96])))
    assert np.flatnonzero(voted).tolist() == [0, 2, 4, 7, 10, 13, 14]
    assert np.flatnonzero(moving).tolist() == list(range(4, 13))


def test_an_encoder_of_convolutions_cannot_stream():
    from tiny_model import tiny_model

    with pytest.raises(ParameterError, match="patches"):
        WindowEncoder(checkpoint_of(tiny_model()), "camera")


def test_a_model_with_a_stream_needs_no_torch_at_run_time():
    """The shipped model in the fuser, in an interpreter in which importing torch fails."""
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch':\n"
        "            raise ImportError('refused: ' + name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from sentryfuse_ros.evaluation.stream_ticks import time_ticks\n"
        "from sentryfuse_ros.model.checkpoint import read_checkpoint\n"
        "from sentryfuse_ros.paths import model_path\n"
        "ticks = time_ticks(read_checkpoint(model_path('utd_mhad_stream')), 6.5)\n"
        "assert len(ticks) == 8 and 'torch' not in sys.modules, ticks\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def test_a_model_without_a_camera_loads_no_opencv():
    code = (
        "import sys\n"
        "from sentryfuse_ros.paths import model_path\n"
        "from sentryfuse_ros.runtime.engine import Engine\n"
        "from sentryfuse_ros.runtime.pipeline import Pipeline\n"
        "from sentryfuse_ros.settings import build_settings\n"
        "pipeline = Pipeline(build_settings({'sensors': ['imu']}), Engine.load(model_path('husky_terrain')))\n"
        "assert pipeline.streamed == () and not {'cv2', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def test_the_shipped_model_streams_as_its_section_says_and_runs_in_the_engine():
    checkpoint = read_checkpoint(model_path("utd_mhad_stream"))
    config = StreamConfig.from_dict(checkpoint.info["streaming"])
    encoder, part = WindowEncoder(checkpoint, "camera"), whole_stems(checkpoint.config, (True,), 0.0)
    stream = StreamClassifier(checkpoint, config.make_stream(encoder), part)
    plain = StreamClassifier(checkpoint, CameraStream(encoder), part)
    rng = np.random.default_rng(0)
    pictures = np.full((40, 1, 112, 112), 3.0, np.float32)
    pictures[:, 0, 30:80, 50:66] = 2.0
    pictures += 1.425e-3 * pictures**2 * rng.standard_normal(pictures.shape).astype(np.float32)
    results = [(stream.update(picture, ratio=config.route_from_ratio), plain.update(picture)) for picture in pictures]
    assert np.mean([streamed.step.encoded for streamed, _ in results[1:]]) < 0.05 * encoder.windows
    assert {streamed.step.branch for streamed, _ in results[5:]} == {Branch.REUSE}
    engine = Engine.load(model_path("utd_mhad_stream"))
    window = (pictures[-32:] - 2.8) / 0.8
    found = engine.run(engine.choice((True,), 0.0), {"camera": window.astype(np.float32)})
    share = np.exp(results[-1][1].logits - results[-1][1].logits.max())
    np.testing.assert_allclose(found.probabilities, share / share.sum(), atol=1e-4)
