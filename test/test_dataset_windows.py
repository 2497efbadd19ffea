"""BorealTC and the paired digits as windows, from small files in their layout and, where they are at hand, the real ones."""

import numpy as np
import pytest

from sentryfuse_ros.datasets import DATASETS, av_digits, borealtc, dataset
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.paths import data_root
from sentryfuse_ros.preprocessing import ModalitySpec

DRIVE = (
    ModalitySpec("gyroscope", "series", 5.0, (250, 3)),
    ModalitySpec("accelerometer", "series", 5.0, (250, 3)),
    ModalitySpec("wheel_velocity", "series", 5.0, (32, 2)),
    ModalitySpec("motor_current", "series", 5.0, (32, 2)),
)
DIGITS = (
    ModalitySpec("audio", "audio", 1.0, (50, 40), options={"sample_rate_hz": 8000}),
    ModalitySpec("image", "camera", 1.0, (1, 1, 28, 28), "mono"),
)


def needs(*parts):
    path = data_root().joinpath("data", *parts)
    return pytest.mark.skipif(not path.exists(), reason=f"no recordings at {path}: set SENTRYFUSE_DATA")


@pytest.fixture
def small_runs(tmp_path, monkeypatch):
    """Four runs in the files' layout. Every column holds the time, plus 10 a column; the robot stands in SNOW_18."""
    folder = tmp_path / "data" / "borealtc"
    folder.mkdir(parents=True)
    lengths_s = {"ASPHALT_01": 8.2, "SNOW_18": 5.5, "ICE_05": 5.0, "SNOW_22": 3.0}
    arrays = {}
    for run, length_s in lengths_s.items():
        for part, rate_hz, columns in (("imu", 100, 6), ("pro", 6.5, 4)):
            time = np.arange(int(length_s * rate_hz) + 1) / rate_hz
            values = np.zeros((len(time), columns)) if run == "SNOW_18" else time[:, None] + 10 * np.arange(columns)
            arrays[f"{run}__{part}"] = np.column_stack([time, values]).astype(np.float32)
    np.savez(folder / "runs.npz", **arrays)
    rows = ["ASPHALT_01,ASPHALT,0", "SNOW_18,SNOW,0", "ICE_05,ICE,1", "SNOW_22,SNOW,2"]
    (folder / "index.csv").write_text("\n".join(["run,label,fold", *rows]) + "\n")
    monkeypatch.setenv("SENTRYFUSE_DATA", str(tmp_path))
    return folder


def test_windows_end_every_second_of_a_run_from_five_seconds_on(small_runs):
    windows = borealtc.load(DRIVE)
    assert [windows.recordings[i] for i in windows.recording] == ["ASPHALT_01"] * 4 + ["SNOW_18"]  # the others are too short
    assert windows.end_s.tolist() == [5.0, 6.0, 7.0, 8.0, 5.0]
    assert windows.labels.tolist() == [0, 0, 0, 0, 4] and windows.groups.tolist() == ["0/a"] * 4 + ["0/b"]
    gyro = windows.rows("gyroscope", np.array([1]))[0]
    np.testing.assert_allclose(gyro[-1], [5.995, 15.995, 25.995], atol=1e-3)  # cells of two rows, the last ends at 6 s
    np.testing.assert_allclose(gyro[0], [1.015, 11.015, 21.015], atol=1e-3)
    np.testing.assert_allclose(windows.rows("accelerometer", np.array([1]))[0] - gyro, 30, atol=1e-3)
    wheel, current = (windows.rows(n, np.array([1]))[0] for n in ("wheel_velocity", "motor_current"))
    np.testing.assert_allclose(current - wheel, 20, atol=1e-3)
    assert np.all(np.diff(wheel[:, 0]) > 0) and 5.7 < wheel[-1, 0] <= 6.0


def test_a_robot_that_stands_is_not_one_without_wheels(small_runs):
    standing = borealtc.load(DRIVE, ["0/b"])
    assert all(standing.rows(s.name, np.array([0])).any(-1).all() for s in DRIVE)
    assert np.abs(standing.rows("wheel_velocity", np.array([0]))).max() < 1e-5


def test_all_sensors_of_the_imu_in_one(small_runs):
    both = borealtc.load([ModalitySpec("any", "imu", 5.0, (250, 6)), *DRIVE[:2]])
    np.testing.assert_array_equal(both.inputs["any"], np.concatenate([both.inputs["gyroscope"], both.inputs["accelerometer"]], 2))


def test_wrong_groups_modalities_and_folds_are_named(small_runs):
    with pytest.raises(DataError, match="'2/b'.*0/a"):
        borealtc.load(DRIVE, ["0/a", "2/b"])
    with pytest.raises(DataError, match="'camera'.*motor_current"):
        borealtc.load([ModalitySpec("camera", "camera", 1.0, (1, 1, 4, 4), "mono")])
    with pytest.raises(DataError, match="columns: saw 3, expected 2"):
        borealtc.load([ModalitySpec("wheel_velocity", "series", 5.0, (32, 3))])
    with pytest.raises(DataError, match="test fold: saw 3"):
        borealtc.cross_validation(3)
    (small_runs / "index.csv").write_text("run,label,fold\nX,LAVA,0\n")
    with pytest.raises(DataError, match="index.csv"):
        borealtc.load(DRIVE)


@pytest.mark.parametrize("name, specs, where", [("borealtc", DRIVE, "BorealTC"), ("av_digits", DIGITS, "free-spoken-digit")])
def test_without_the_files_the_error_says_where_they_are_from(tmp_path, monkeypatch, name, specs, where):
    monkeypatch.setenv("SENTRYFUSE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"SENTRYFUSE_DATA.*{where}.*datasets/{name}.py"):
        dataset(name).load(specs)


def test_every_set_is_whole_as_a_source():
    for name in DATASETS:
        source = dataset(name)
        assert {"train", "test"} <= set(source.SPLIT) and len(source.CLASSES) > 1 and source.PROVENANCE and source.load
        groups = [g for split in source.SPLIT.values() for g in split]
        assert len(groups) == len(set(groups))


@needs("borealtc", "runs.npz")
def test_real_runs_are_split_by_run_with_every_class_on_each_side():
    windows = borealtc.load(DRIVE)
    assert len(windows) == 4353
    held = {windows.recordings[i] for i in windows.recording[np.char.endswith(windows.groups, "/b")]}
    assert held == set(borealtc.HELD_OUT)
    for fold in borealtc.FOLDS:
        parts = {n: windows.of_groups(g) for n, g in borealtc.cross_validation(fold).items()}
        assert sum(map(len, parts.values())) == len(windows)
        runs = [set(p.recording.tolist()) for p in parts.values()]
        assert not (runs[0] & runs[1] or runs[0] & runs[2] or runs[1] & runs[2])
        assert all(set(p.labels.tolist()) == set(range(5)) for p in parts.values())
    # Gravity, and a Husky's top speed of 1 m/s, tell the columns from each other.
    up = windows.inputs["accelerometer"][:, :, 2].mean(axis=1)
    assert 9.5 < np.median(up) < 10.1 and np.abs(windows.inputs["wheel_velocity"]).max() < 1.1


@pytest.fixture
def small_digits(tmp_path, monkeypatch):
    """Digits 0 and 1 by one speaker, takes 0 to 11, a tone of 500 Hz x (digit + 1); 20 images of each, with
    index + 1 in the first pixel."""
    folder = tmp_path / "data" / "av_digits"
    folder.mkdir(parents=True)
    ids = np.array([[d, 0, r] for d in (0, 1) for r in range(12)], np.int16)
    clips = [(16000 * np.sin(2 * np.pi * 500 * (d + 1) * np.arange(3200 + 80 * r) / 8000)).astype(np.int16) for d, _, r in ids]
    np.savez(
        folder / "fsdd_audio_8k_i16.npz",
        data=np.concatenate(clips),
        ids=ids,
        speakers=np.array(["anna"]),
        offset=np.concatenate([[0], np.cumsum([len(c) for c in clips])]),
    )
    images = np.repeat(np.arange(1, 41, dtype=np.uint8), 28 * 28).reshape(40, 28, 28)
    images[:, 1:, 1:] = np.arange(27 * 27).reshape(27, 27) % 251
    np.savez(folder / "mnist5k_28x28_u8.npz", x=images, y=np.repeat(np.arange(2, dtype=np.uint8), 20))
    monkeypatch.setenv("SENTRYFUSE_DATA", str(tmp_path))
    return folder


def test_pairs_are_of_one_class_and_stay_within_a_split(small_digits):
    windows = av_digits.load(DIGITS)
    image = np.round(windows.inputs["image"][:, 0, 0, 0, 0] * 255).astype(int) - 1
    loudest = windows.inputs["audio"][:, -10:].mean(axis=1).argmax(axis=1)
    assert set(zip(windows.labels, image // 20)) == {(0, 0), (1, 1)}
    assert len(set(loudest[windows.labels == 0])) == 1 and loudest[windows.labels == 0][0] < loudest[windows.labels == 1][0]
    take = np.array([int(name.split()[5]) for name in windows.recordings])
    for split, images, takes in (("test", {0, 5, 10, 15}, set(range(5))), ("val", {1, 11}, set(range(5, 10)))):
        here = (windows.groups == split) & (windows.labels == 0)
        assert set(image[here]) == images and set(take[here]) <= takes
    train = windows.of_groups(["train"])
    assert len(train) == 28 and len(set(image[windows.groups == "train"])) == 28  # every image once
    assert set(take[windows.groups == "train"]) == {10, 11}


def test_each_clip_is_heard_as_often_as_another(small_digits):
    train = av_digits.load(DIGITS[:1], ["train"])
    counts = np.unique([name.split(" image")[0] for name in train.recordings], return_counts=True)[1]
    assert counts.tolist() == [7, 7, 7, 7]


def test_the_window_ends_where_the_clip_does(small_digits):
    windows = av_digits.load(DIGITS[:1], ["train"])
    seen = windows.inputs["audio"].any(axis=2)
    assert seen[:, -1].all() and not seen[:, 0].any()
    np.testing.assert_array_equal(seen.sum(axis=1), np.floor(windows.end_s * 50 + 0.5))


def test_an_image_may_come_as_strips(small_digits):
    whole = av_digits.load(DIGITS[1:], ["val"]).inputs["image"]
    strips = av_digits.load([ModalitySpec("image", "camera", 1.0, (7, 1, 4, 28), "mono")], ["val"]).inputs["image"]
    assert strips.shape[1:] == (7, 1, 4, 28)
    np.testing.assert_array_equal(np.concatenate(list(strips.transpose(1, 0, 2, 3, 4)), axis=2), whole[:, 0])
    with pytest.raises(DataError, match="'image' shape"):
        av_digits.load([ModalitySpec("image", "camera", 1.0, (7, 1, 28, 28), "mono")])


def test_pairing_is_the_same_every_time(small_digits):
    first, again = av_digits.load(DIGITS), av_digits.load(DIGITS, ["test"])
    assert again.recordings == tuple(n for n, g in zip(first.recordings, first.groups) if g == "test")


def test_what_the_digits_cannot_serve_is_named(small_digits):
    with pytest.raises(DataError, match="sample_rate_hz: saw 16000, expected 8000"):
        av_digits.load([ModalitySpec("audio", "audio", 1.0, (50, 40))])
    with pytest.raises(DataError, match="'imu'.*mono"):
        av_digits.load([ModalitySpec("imu", "imu", 1.0, (50, 6))])
    with pytest.raises(DataError, match="holdout"):
        av_digits.load(DIGITS, ["holdout"])


@needs("av_digits", "fsdd_audio_8k_i16.npz")
def test_real_digits_have_the_documented_counts():
    windows = av_digits.load(DIGITS)
    for split, per_class in (("train", 350), ("val", 50), ("test", 100)):
        assert np.bincount(windows.of_groups([split]).labels).tolist() == [per_class] * 10
    assert len(set(windows.recordings)) == len(windows) == 5000
