"""A patch encoder in the place of a ground network's camera stem, on a simulated drive with a stop."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="the recording is simulated")

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.drive_truth import read_truth
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.cli import main
from sentryfuse_ros.datasets.camera_pictures import camera_pictures
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.model.saved import checkpoint_of, load_checkpoint, network_of
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.paths import model_path, share_path
from sentryfuse_ros.preprocessing.camera import model_input
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.onnx_backend import OnnxBackend
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.settings import build_settings
from sentryfuse_ros.simulation.run import simulate
from sentryfuse_ros.streaming.change_rule import BRIGHTNESS_RULE, DEPTH_RULE
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.streaming.window_encoder import WindowEncoder
from sentryfuse_ros.training.camera_windows import CameraWindows
from sentryfuse_ros.training.stem_recipe import StemTraining
from sentryfuse_ros.training.stem_router import learned_router
from sentryfuse_ros.training.stem_run import with_patches
from sentryfuse_ros.training.stem_trainer import taught_tokens

MODEL = model_path("ground_robot")
RECIPE = share_path("config", "train_ground_patches.yaml")
STANDS_S = (2.0, 6.0)
EXACT = {"rule": {"factor": 0.0}, "watch_motion": False, "policy": {"refresh_pictures": 0}}


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stops")
    nuisances = ["none", "shadows=1", f"stands_from_s={STANDS_S[0]}", f"stands_until_s={STANDS_S[1]}"]
    for split in ("train", "val"):
        simulate(7, 7.0, folder / f"{split}_000007", split, nuisances)
    return folder


@pytest.fixture(scope="module")
def spec():
    return read_checkpoint(MODEL).config.modalities[0]


@pytest.fixture(scope="module")
def network():
    """(old network, the same with a patch encoder of random weights)."""
    torch.manual_seed(0)
    parent, _ = load_checkpoint(MODEL)
    return parent, with_patches(parent, 0, StemTraining.read(RECIPE))


def standing(recording):
    return (recording.stamp_ns > 1_700_000_000 * NS_PER_S + (STANDS_S[0] + 1) * NS_PER_S) & (
        recording.stamp_ns < 1_700_000_000 * NS_PER_S + STANDS_S[1] * NS_PER_S
    )


def test_a_robot_stands_when_it_is_told_to_and_sees_shadows_pass(drives, spec):
    recording = camera_pictures(drives / "val_000007", spec)
    speeds = np.array([m.speed_mps for m in read_truth(drives / "val_000007")])
    still = standing(recording)
    assert np.abs(speeds[still]).max() < 0.02 and np.abs(speeds[~still][:15]).min() > 0.3
    blocks = recording.frames[still].mean(1).reshape(-1, 6, 9, 8, 9).mean((2, 4))  # means of 81 pixels: little noise is left
    darkest = (blocks / np.median(blocks, 0)).min((1, 2))
    assert darkest.min() < 0.85 and 0.95 < np.quantile(darkest, 0.6)  # a shadow passes, and mostly there is none


def test_the_pictures_of_a_recording_are_those_the_decoder_makes_and_are_kept(drives, spec, tmp_path):
    made = camera_pictures(drives / "val_000007", spec, tmp_path)
    assert made.pixels.shape == (70, 3, 54, 72) and made.pixels.dtype == np.uint8
    kept = camera_pictures(drives / "val_000007", spec, tmp_path)
    for ours, theirs in zip(made, kept):
        np.testing.assert_array_equal(ours, theirs)
    still = standing(made)
    assert np.nanmax(made.turn_rad_s[still]) < 0.02 < np.nanmax(made.turn_rad_s[:15])


def test_windows_of_pictures_are_those_of_the_preprocessing(drives, spec):
    recording = camera_pictures(drives / "val_000007", spec)
    pictures = CameraWindows(spec, {"other": recording, "drive": recording})
    for end_ns in (int(recording.stamp_ns[2]) + 5, int(recording.stamp_ns[30]), int(recording.stamp_ns[69]) + 10**7):
        places = pictures.ending("drive", end_ns)
        x = model_input(recording.stamp_ns, recording.frames, end_ns, spec)
        assert (places >= 0).tolist() == x.any((1, 2, 3)).tolist() and places.max() >= 70
        bare = replace(spec, mean=(), std=())
        expected = model_input(recording.stamp_ns, recording.frames, end_ns, bare)
        for place, slot in zip(places, expected):
            if place >= 0:
                np.testing.assert_allclose(pictures.pixels[place] / 255, slot, atol=1e-6)
    drawn = pictures.drawn(np.random.default_rng(0), 200)
    assert ((drawn[:, 1] - drawn[:, 0] == 10) | (drawn[:, 0] == -1)).all() and (drawn[:, 0] == -1).any()
    np.testing.assert_array_equal(pictures.older(np.array([0, 3, 75]), np.array([4, 2, 9])), [0, 1, 70])


def test_the_tokens_that_are_taught_are_those_of_the_old_stem(drives, spec, network):
    recording = camera_pictures(drives / "val_000007", spec)
    taught = taught_tokens(network[0].stems[0], CameraWindows(spec, {"drive": recording}))
    x = torch.from_numpy(model_input(recording.stamp_ns, recording.frames, int(recording.stamp_ns[-1]), spec))[None]
    with torch.no_grad():
        wanted = network[0].stems[0](x)[0][0]
        x[0, 0] = 0
        emptied = network[0].stems[0](x)[0][0]
    torch.testing.assert_close(taught[torch.tensor([59, 69])], wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(taught[-1], emptied[0], atol=1e-4, rtol=1e-4)


def test_training_goes_on_where_it_stopped_and_learns_the_old_tokens(drives, spec, network, tmp_path):
    recipe = RECIPE.read_text().replace("steps: 2600", "steps: 160").replace("batch: 64", "batch: 16\n  tuned: 0.1")
    (tmp_path / "recipe.yaml").write_text(recipe)
    windows = ["dataset", str(drives), "--labels", "intervals.csv", "--config", str(share_path("config", "train_ground.yaml"))]
    assert main([*windows, "--out", str(tmp_path / "windows")]) == 0
    given = ["train-stem", "--config", str(tmp_path / "recipe.yaml"), "--dataset", str(tmp_path / "windows")]
    given += [
        "--drives",
        str(drives),
        "--stops",
        str(drives),
        "--pictures",
        str(tmp_path / "pictures"),
        "--tokens",
        str(tmp_path / "tokens"),
    ]
    assert main([*given, "--out", str(tmp_path / "once")]) == 0
    whole = read_checkpoint(tmp_path / "once")
    assert 0 <= whole.info["metrics"]["validation"]["whole"]["accuracy, all sensors"] <= 1
    assert whole.info["streaming"]["weights"]["costs"] == [0.0, 0.06, 0.15]
    learned, taught = network_of(whole).stems[0], network[0].stems[0]
    recording = camera_pictures(drives / "train_000007", spec)
    x = np.stack([model_input(recording.stamp_ns, recording.frames, int(end), spec) for end in recording.stamp_ns[12:]])
    with torch.no_grad():
        ours, theirs = (stem(torch.from_numpy(x))[0] for stem in (learned, taught))
    assert (ours - theirs).square().mean() < 0.5 * theirs.flatten(0, 1).var(0).mean()  # the mean token would reach 1
    parent = read_checkpoint(MODEL)
    for name, tensor in whole.tensors.items():
        if not name.startswith("tokenizers.0."):
            np.testing.assert_array_equal(tensor, parent.tensors[name])
    (tmp_path / "once" / "model.safetensors").unlink()
    assert main([*given, "--out", str(tmp_path / "once"), "--resume"]) == 0  # the state of the last step was saved
    for name, tensor in read_checkpoint(tmp_path / "once").tensors.items():
        np.testing.assert_array_equal(tensor, whole.tensors[name])
    assert main([*given, "--out", str(tmp_path / "once"), "--resume", "--seed", "1"]) == 2
    assert main([*given, "--out", str(tmp_path / "nothing"), "--resume"]) == 2


def test_a_stem_with_another_number_of_tokens_is_refused(network):
    training = StemTraining.read(RECIPE)
    with pytest.raises(ParameterError, match="tokens a window"):
        with_patches(network[0], 0, replace(training, stem={**training.stem, "frames_per_token": 2}))


def predictions(drive, checkpoint, streaming, tick_s=0.1):
    """Every prediction from camera and IMU, with what the stream did."""
    engine = Engine(checkpoint, OnnxBackend(checkpoint))
    settings = build_settings(
        {"sensors": ["camera", "imu"], "camera.kind": "camera", "imu.kind": "imu", "camera.motion_sensor": "imu"}
        | {"streaming": streaming, "tick_rate_hz": 1 / tick_s, "budget": "flops"}
    )
    pipeline = Pipeline(settings, engine)
    found = []
    with Bag(drive) as bag:
        sensor_of = {topic.name: sensor for sensor, topic in match_sensors(bag, settings.sensors).topics.items()}
        due_ns = bag.start_ns + NS_PER_S
        for topic, time_ns, message in bag.messages(list(sensor_of)):
            while time_ns >= due_ns:
                found.append((due_ns, pipeline.tick(due_ns)))
                due_ns += round(tick_s * NS_PER_S)
            pipeline.feed(sensor_of[topic], [message], np.array([time_ns]), time_ns, time_ns)
    return [(stamp_ns, p.inference) for stamp_ns, p in found if p.valid]


@pytest.mark.parametrize("tick_s", [0.1, 0.3])
def test_two_colour_pictures_a_second_apart_are_streamed_as_without_a_stream(drives, network, tick_s):
    checkpoint = checkpoint_of(network[1], {"streaming": EXACT})
    plain, streamed = (predictions(drives / "val_000007", checkpoint, wanted, tick_s) for wanted in ("off", "on"))
    assert len(plain) == len(streamed) > 15
    for (stamp_ns, ours), (_, theirs) in zip(streamed, plain):
        assert ours.streams["camera"].windows == 12 and not theirs.streams
        # While a stream is younger than the older slot, the picture that it was begun with stands there.
        if stamp_ns - streamed[0][0] >= NS_PER_S:
            np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=2e-6)


def test_a_drive_is_dense_by_its_gyro_and_a_stop_is_not(drives, network):
    checkpoint = checkpoint_of(network[1], {"streaming": {"by_default": False}})
    found = predictions(drives / "val_000007", checkpoint, "on")
    begin_ns = found[0][0] - NS_PER_S
    stops = [x.streams["camera"] for at, x in found if STANDS_S[0] + 1.2 < (at - begin_ns) * 1e-9 < STANDS_S[1]]
    drives_on = [x.streams["camera"] for at, x in found if (at - begin_ns) * 1e-9 < STANDS_S[0] - 0.2]
    assert len(stops) > 20 and not any(use.moving for use in stops)
    assert np.mean([use.tokens for use in stops]) < 0.5 and np.mean([use.tokens for use in drives_on]) > 0.9


def test_colour_without_a_rule_of_its_own_is_compared_as_brightness(network):
    encoder = WindowEncoder(checkpoint_of(network[1]), "camera")
    stream = StreamConfig.from_dict({}).make_stream(encoder)
    assert stream._detector.rule == BRIGHTNESS_RULE != DEPTH_RULE


def test_a_router_is_taught_on_stops(drives, spec, network):
    recording = camera_pictures(drives / "val_000007", spec)
    weights = learned_router(checkpoint_of(network[1]), "camera", [recording], (0.0, 0.2, 0.4))
    section = json.loads(json.dumps({"router": "learned", "weights": weights.__dict__}))
    assert StreamConfig.from_dict(section).make_router() is not None
