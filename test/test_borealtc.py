"""BorealTC as windows, from small files in its layout and, if they are available, from the real ones."""

import numpy as np
import pytest
from dataset_maker import needs

from sentryfuse_ros.datasets import borealtc
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.preprocessing import ModalitySpec

DRIVE = (
    ModalitySpec("gyroscope", "series", 5.0, (250, 3)),
    ModalitySpec("accelerometer", "series", 5.0, (250, 3)),
    ModalitySpec("wheel_velocity", "series", 5.0, (32, 2)),
    ModalitySpec("motor_current", "series", 5.0, (32, 2)),
)


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


def test_a_standing_robot_still_has_wheel_data(small_runs):
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
