"""Whole drives of a sensor that lies, as benchmarks.trust follows them."""

import numpy as np
from trust_maker import IMU, imu_table, imu_windows

from benchmarks.trust.collect import measured
from benchmarks.trust.corruption_table import interval
from benchmarks.trust.drives import JUDGED_S, _moments, distrusted
from sentryfuse_ros.nanoseconds import NS_PER_S as NS

G = 9.80665


def test_a_sensor_is_masked_while_it_lies_and_its_lie_is_not_held_against_the_next_drive():
    x = imu_windows(60, seed=21)
    x[15:30, :, 3:] /= np.float32(G)
    values = measured(IMU, x)
    values[5] = np.nan  # nothing can be judged there
    drives = np.repeat(["first", "second"], 30)
    end_ns = np.tile((1 + np.arange(30)) * round(JUDGED_S * NS), 2)
    refused = np.arange(60) == 50
    masked = distrusted(IMU, imu_table(), values, drives, end_ns, refused, 3, 3)
    assert not masked[:17].any() and masked[19:30].all()
    assert np.flatnonzero(masked[30:]).tolist() == [20]


def test_the_moments_of_a_drive_contain_the_ends_of_its_windows():
    ends = np.array([2.005, 3.005, 5.505]) * NS
    moments = _moments(ends.astype(np.int64))
    assert set(ends.astype(np.int64).tolist()) <= set(moments.tolist()) and (np.diff(moments) > 0).all()
    assert moments[0] < 0.5 * NS and np.diff(moments).max() <= JUDGED_S * NS


def test_windows_of_one_drive_count_as_one_piece_of_evidence():
    random = np.random.default_rng(0)
    values, drives = random.normal(0, 1, 40), np.arange(40)
    low, high = interval(values, drives)
    half = 1.96 * values.std() / np.sqrt(40)
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.05)
    np.testing.assert_allclose(interval(np.repeat(values, 10), np.repeat(drives, 10)), [low, high])
