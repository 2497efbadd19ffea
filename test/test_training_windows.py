"""Windows of a training: drawn from recordings or extracted beforehand, and how they are augmented."""

import cv2
import numpy as np
from made_up_training import recipe, recordings, window_set

from sentryfuse_ros.datasets.recording import Recording, Stream
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.preprocessing.normalise import normalise
from sentryfuse_ros.training import windows as windows_module
from sentryfuse_ros.training.augment import Augment, augment_windows
from sentryfuse_ros.training.examples import RecordingExamples, WindowExamples
from sentryfuse_ros.training.windows import random_window, whole_window


def test_windows_are_repeatable_and_augmented():
    specs, one = recipe().specs, recordings()[0]
    a, b, c = (random_window(one, specs, Augment(), np.random.default_rng(s)) for s in (1, 1, 2))
    assert all(np.array_equal(a[n], b[n]) for n in a) and not np.array_equal(a["imu"], c["imu"])


def test_no_augmentation_gives_the_window_of_an_evaluation():
    off = Augment(
        partial=0,
        lag_s=0,
        speed=0,
        imu_rotation_deg=0,
        imu_scale=0,
        imu_jitter=0,
        camera_shift=0,
        camera_zoom=0,
        camera_depth_scale=0,
        erase=0,
    )
    specs, one = recipe().specs, recordings()[0]
    x = random_window(one, specs, off, np.random.default_rng(0))
    for name, expected in whole_window(one, specs).items():
        np.testing.assert_allclose(x[name], expected, atol=1e-6)


def test_specs_are_measured_once_and_kept():
    specs = RecordingExamples(recordings()).measured(recipe().specs)
    rows = np.concatenate([r.streams["imu"].rows for r in recordings()])
    np.testing.assert_allclose(specs[0].mean, rows.mean(0), atol=1e-5)
    np.testing.assert_allclose(specs[0].std, rows.std(0), atol=1e-5)
    assert RecordingExamples(recordings(groups=(1,))).measured(specs) == specs


def test_moved_frames_are_those_of_an_affine_warp():
    rng = np.random.default_rng(0)
    frames = rng.random((3, 2, 24, 32)).astype(np.float32)
    augment = Augment(camera_shift=0.1, camera_zoom=0.2, camera_depth_scale=0.0)
    moved = windows_module._move(frames, augment, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    zoom = 1 + rng.uniform(-0.2, 0.2)
    dx, dy = rng.uniform(-0.1, 0.1, 2) * (32, 24)
    matrix = np.array([[zoom, 0, (1 - zoom) * 16 + dx], [0, zoom, (1 - zoom) * 12 + dy]])
    warped = np.stack([cv2.warpAffine(f.transpose(1, 2, 0), matrix, (32, 24), flags=cv2.INTER_NEAREST) for f in frames])
    assert (moved == warped.transpose(0, 3, 1, 2)).mean() > 0.95  # the other rounds in steps of a 32nd


# windows extracted beforehand


def test_window_set_trains_to_the_same_numbers_as_windows_of_specs_with_mean_and_std():
    windows = WindowExamples(window_set())
    specs = windows.measured(recipe().specs)
    given = windows.inputs(np.arange(len(windows)), specs)
    for i, one in enumerate(recordings((1, 2))):
        for name, expected in whole_window(one, specs).items():
            np.testing.assert_allclose(given[name][i], expected, atol=1e-5)
    assert all(abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05 for x in given.values())


def test_augmented_windows_are_repeatable_and_keep_what_is_empty_empty():
    shapes = {
        "cam": ("camera", (2, 3, 6, 8), "rgb"),
        "imu": ("imu", (40, 6), ""),
        "mic": ("audio", (20, 10), ""),
        "lid": ("lidar", (2, 4, 6, 8), ""),
        "deep": ("camera", (2, 1, 6, 8), "depth_m"),
    }
    specs = [ModalitySpec(n, kind, 1.0, shape, encoding) for n, (kind, shape, encoding) in shapes.items()]
    rng = np.random.default_rng(0)
    inputs = {s.name: rng.random((16, *s.shape), np.float32) + 0.5 for s in specs}
    for x in inputs.values():
        x[:, 0] = 0  # the first frame or step is empty
    before = {n: x.copy() for n, x in inputs.items()}
    a, b, c = (augment_windows(inputs, specs, Augment(turn=1.0), np.random.default_rng(s)) for s in (1, 1, 2))
    for name, x in inputs.items():
        assert np.array_equal(x, before[name]) and np.array_equal(a[name], b[name]) and not np.array_equal(a[name], c[name])
        assert not a[name][:, 0].any() and a[name].dtype == np.float32 and (a[name][:, 1:] != x[:, 1:]).any()
    off = Augment(
        mirror=0,
        light=0,
        contrast=0,
        colour=0,
        camera_noise=0,
        camera_depth_scale=0,
        imu_rotation_deg=0,
        imu_scale=0,
        imu_jitter=0,
        loudness=0,
        bands_share=0,
        lidar_scale=0,
        lidar_noise=0,
        lidar_drop=0,
        erase=0,
    )
    for name, x in augment_windows(inputs, specs, off, rng).items():
        np.testing.assert_allclose(x, inputs[name], atol=1e-6)


def test_mirrored_and_turned_windows_move_every_channel_and_frame_alike():
    spec = ModalitySpec("lid", "lidar", 1.0, (2, 4, 3, 8))
    x = np.zeros((32, 2, 4, 3, 8), np.float32)
    x[..., 2] = 1.0
    quiet = Augment(turn=1.0, mirror=0.5, lidar_scale=0, lidar_noise=0, lidar_drop=0, erase=0)
    out = augment_windows({"lid": x}, [spec], quiet, np.random.default_rng(0))["lid"]
    columns = out.any(axis=(1, 2, 3))
    assert (columns.sum(1) == 1).all() and len(set(columns.argmax(1).tolist())) > 4
    assert (out.sum(-1) == 1).all()


def test_series_are_scaled_in_their_own_unit_and_shifted_by_channel():
    wheels = ModalitySpec("wheels", "series", 1.0, (10, 2), mean=(0.5, -1.0), std=(0.5, 2.0))
    physical = np.tile(np.array([1.0, 3.0], np.float32), (64, 10, 1))
    x = normalise(wheels, physical)
    x[:, :3] = 0
    quiet = dict(erase=0.0, imu_jitter=0.0)

    def augmented(**strengths):
        out = augment_windows({"wheels": x}, [wheels], Augment(**quiet, **strengths), np.random.default_rng(0))["wheels"]
        assert not out[:, :3].any()
        return out[:, 3:] * np.array(wheels.std, np.float32) + np.array(wheels.mean, np.float32)

    factor = augmented(series_scale={"wheels": 0.3}) / physical[:, 3:]
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1, :1], factor.shape), rtol=1e-4)
    assert 0.2 < np.log(factor[:, 0, 0]).std() < 0.4
    offset = (augmented(series_shift=0.5) - physical[:, 3:]) / np.array(wheels.std, np.float32)
    np.testing.assert_allclose(offset, np.broadcast_to(offset[:, :1], offset.shape), atol=1e-4)
    assert (np.abs(np.diff(offset[:, 0])) > 1e-3).all() and 0.4 < offset[:, 0].std() < 0.6
    np.testing.assert_allclose(augmented(series_scale={"motors": 0.3}), physical[:, 3:], rtol=1e-5)


def test_left_and_right_of_the_whole_robot_are_swapped_together():
    imu = ModalitySpec("imu", "imu", 1.0, (10, 6), mean=(0.1,) * 6, std=(2.0,) * 6)
    wheels = ModalitySpec("wheels", "series", 1.0, (10, 2), mean=(1.0, 2.0), std=(1.0, 4.0))
    physical = {"imu": np.arange(1, 7, dtype=np.float32), "wheels": np.array([3, 5], np.float32)}
    inputs = {s.name: normalise(s, np.tile(physical[s.name], (64, 10, 1))) for s in (imu, wheels)}
    for x in inputs.values():
        x[:, :2] = 0  # no data
    quiet = Augment(
        erase=0.0,
        imu_jitter=0.0,
        imu_rotation_deg=0.0,
        imu_scale=0.0,
        swap_sides=0.5,
        swapped_channels={"imu": [-1, 2, -3, 4, -5, 6], "wheels": [2, 1]},
    )
    out = augment_windows(inputs, [imu, wheels], quiet, np.random.default_rng(0))
    assert not any(x[:, :2].any() for x in out.values())
    felt = {s.name: out[s.name][:, 5] * np.array(s.std, np.float32) + np.array(s.mean, np.float32) for s in (imu, wheels)}
    swapped = felt["wheels"][:, 0] > 4
    assert 16 < swapped.sum() < 48
    np.testing.assert_allclose(felt["wheels"], np.where(swapped[:, None], [[5, 3]], [[3, 5]]), atol=1e-5)
    np.testing.assert_allclose(felt["imu"], np.where(swapped[:, None], [[-1, 2, -3, 4, -5, 6]], [[1, 2, 3, 4, 5, 6]]), atol=1e-5)


def test_a_recording_of_which_a_window_holds_one_frame_is_never_blanked_out():
    spec = ModalitySpec("camera", "camera", 1.0, (1, 1, 6, 8), "depth_m", mean=(0.0,), std=(1.0,))
    stream = Stream(np.array([NS_PER_S]), np.full((1, 1, 6, 8), 2.0, np.float32))
    recording, rng = Recording("one", 0, 1, {"camera": stream}), np.random.default_rng(0)
    augment = Augment(partial=0.0, erase=1.0, erase_share=1.0)
    assert all(random_window(recording, (spec,), augment, rng)["camera"].any() for _ in range(20))
