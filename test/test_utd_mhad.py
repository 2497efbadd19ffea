"""UTD-MHAD as rows in SI units and, if the recordings are available, the whole real set."""

import numpy as np
import pytest

from sentryfuse_ros.datasets import split_groups, utd_mhad
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.paths import data_root
from sentryfuse_ros.preprocessing import ModalitySpec

SPECS = (
    ModalitySpec("camera", "camera", 4.5, (36, 1, 30, 40), "depth_m"),
    ModalitySpec("imu", "imu", 5.0, (250, 6)),
)


REAL = data_root() / "data" / "utd_mhad" / "inertial.npz"


needs_recordings = pytest.mark.skipif(not REAL.exists(), reason=f"no recordings at {REAL}: set SENTRYFUSE_DATA")


@pytest.fixture
def small_set(tmp_path, monkeypatch):
    """Three trials in the files' layout: action 5 and 27 of subject 1, action 5 of subject 2; 20 depth and joint frames each."""
    folder = tmp_path / "data" / "utd_mhad"
    folder.mkdir(parents=True)
    ids = np.array([[5, 1, 1], [27, 1, 1], [5, 2, 1]], np.int16)
    depth = np.full((60, 60, 80), 2500, np.uint16)
    inertial = np.tile(np.array([1, 0, -1, 180, 90, 0], np.float32), (90, 1))
    np.savez(folder / "depth_60x80_u16mm.npz", data=depth, offset=np.array([0, 20, 40, 60]), ids=ids)
    np.savez(folder / "inertial.npz", data=inertial, offset=np.array([0, 30, 60, 90]), ids=ids)
    joints = np.random.default_rng(0).standard_normal((20, 20, 3))
    joints = np.concatenate([joints, 1.2 * joints + [0.5, 0, 3], joints]).astype(np.float32)
    np.savez(folder / "skeleton.npz", data=joints, offset=np.array([0, 20, 40, 60]), ids=ids)
    monkeypatch.setenv("SENTRYFUSE_DATA", str(tmp_path))
    return folder


def test_rows_are_si_units_gyro_first(small_set):
    stream = utd_mhad.load(SPECS)[0].streams["imu"]
    np.testing.assert_allclose(stream.rows[0], [np.pi, np.pi / 2, 0, 9.80665, 0, -9.80665], rtol=1e-6)
    assert np.diff(stream.stamp_ns).tolist() == [20_000_000] * 29


def test_depth_is_metres_at_the_size_of_the_spec(small_set):
    stream = utd_mhad.load(SPECS)[0].streams["camera"]
    assert stream.rows.shape == (20, 1, 30, 40) and np.allclose(stream.rows, 2.5)


def test_labels_groups_and_names(small_set):
    recordings = utd_mhad.load(SPECS)
    assert [(r.label, r.group, r.name) for r in recordings] == [(4, 1, "a5_s1_t1"), (26, 1, "a27_s1_t1"), (4, 2, "a5_s2_t1")]
    assert [r.group for r in utd_mhad.load(SPECS, groups=(2,))] == [2]
    assert [r.label for r in split_groups(recordings, [1])] == [4, 26]


def test_group_without_recordings_is_named(small_set):
    with pytest.raises(DataError, match="9"):
        split_groups(utd_mhad.load(SPECS), [1, 9])


def test_missing_files_name_the_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("SENTRYFUSE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="SENTRYFUSE_DATA"):
        utd_mhad.load(SPECS)


def test_damaged_file_is_named(small_set):
    path = small_set / "inertial.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="inertial.npz"):
        utd_mhad.load(SPECS)


def test_offsets_that_do_not_fit_the_rows_are_refused(small_set):
    np.savez(
        small_set / "inertial.npz",
        data=np.zeros((80, 6), np.float32),
        offset=np.array([0, 30, 60, 90]),
        ids=np.array([[5, 1, 1], [27, 1, 1], [5, 2, 1]], np.int16),
    )
    with pytest.raises(DataError, match="offsets"):
        utd_mhad.load(SPECS)


def test_series_of_one_imu_are_its_columns(small_set):
    accel = ModalitySpec("accelerometer", "series", 5.0, (250, 3))
    gyro = ModalitySpec("gyroscope", "series", 5.0, (250, 3))
    streams = utd_mhad.load([*SPECS, accel, gyro])[0].streams
    np.testing.assert_array_equal(streams["imu"].rows[:, :3], streams["gyroscope"].rows)
    np.testing.assert_array_equal(streams["imu"].rows[:, 3:], streams["accelerometer"].rows)
    np.testing.assert_array_equal(streams["imu"].stamp_ns, streams["gyroscope"].stamp_ns)


def test_skeleton_sees_neither_place_nor_body_size(small_set):
    spec = ModalitySpec("skeleton", "series", 5.0, (150, 60))
    small, large = (r.streams["skeleton"] for r in utd_mhad.load([spec])[:2])  # the same joints, elsewhere and 1.2 times as large
    np.testing.assert_allclose(small.rows, large.rows, atol=1e-5)
    joints = small.rows.reshape(-1, 20, 3)
    assert not joints[:, 3].any()  # hip centre
    assert np.median(np.linalg.norm(joints[:, 1], axis=1)) == pytest.approx(1)  # hip to shoulder centre
    assert small.stamp_ns[-1] == 20 * 10**9 // 30


def test_series_without_a_source_and_with_wrong_columns(small_set):
    with pytest.raises(DataError, match="'wheel'.*accelerometer, gyroscope, skeleton"):
        utd_mhad.load([ModalitySpec("wheel", "series", 5.0, (250, 3))])
    with pytest.raises(DataError, match="'skeleton' columns: saw 3, expected 60"):
        utd_mhad.load([ModalitySpec("skeleton", "series", 5.0, (250, 3))])


@needs_recordings
def test_the_real_set_is_whole_and_splits_by_subject():
    recordings = utd_mhad.load(SPECS[1:])
    assert len(recordings) == 861 and {r.label for r in recordings} == set(range(27)) and len(utd_mhad.CLASSES) == 27
    train, test = (split_groups(recordings, utd_mhad.SPLIT[s]) for s in ("train", "test"))
    assert (len(train), len(test)) == (431, 430)
    # Gravity: a standing wrist measures about 1 g, which tells g from m/s^2 and accel from gyro.
    rest = np.array([np.linalg.norm(r.streams["imu"].rows[:10, 3:], axis=1).mean() for r in recordings])
    assert 9.0 < np.median(rest) < 10.6
