"""Windows of several sensors at one moment."""

import numpy as np
import pytest

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.sensing.snapshot import take_snapshot
from sentryfuse_ros.sensing.window_buffer import WindowBuffer

MS = 1_000_000


def buffers():
    made = {name: WindowBuffer(0.1, 100, (1,)) for name in ("camera", "imu", "audio")}
    for name, newest_ms in (("camera", 100), ("imu", 130), ("audio", 20)):
        stamps = np.arange(10, newest_ms + 1, 10) * MS
        made[name].append(stamps, np.ones((len(stamps), 1)))
    return made


def test_all_windows_of_a_snapshot_end_at_the_same_moment():
    snapshot = take_snapshot(buffers(), [True, True, True], 120 * MS)
    assert snapshot.mask.tolist() == [True, True, False], "audio is live but its window holds nothing"
    assert snapshot.windows["camera"][0][-1] == 100 * MS and snapshot.windows["imu"][0][-1] == 120 * MS
    assert set(snapshot.windows) == {"camera", "imu"} and snapshot.end_ns == 120 * MS


def test_newest_stamp_is_that_of_data_in_the_snapshot():
    assert take_snapshot(buffers(), [True, False, True], 120 * MS).newest_ns == 100 * MS
    nothing = take_snapshot(buffers(), [False] * 3, 120 * MS)
    assert nothing.newest_ns == 0 and not nothing.mask.any() and nothing.windows == {}


def test_model_input_without_a_sensor_is_left_out():
    snapshot = take_snapshot({"camera": None, "imu": buffers()["imu"]}, [True, True], 130 * MS)
    assert snapshot.mask.tolist() == [False, True]


def test_mask_of_the_wrong_length_is_named():
    with pytest.raises(ParameterError, match="mask"):
        take_snapshot(buffers(), [True], 0)
