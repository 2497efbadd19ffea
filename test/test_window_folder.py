"""A window folder that is damaged or holds other windows."""

import numpy as np
import pytest
from dataset_maker import SPECS, build, labelled_runs

from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.preprocessing import ModalitySpec


@pytest.fixture
def bags(tmp_path):
    return labelled_runs(tmp_path)


def test_damaged_folder_and_other_windows_are_refused_by_name(tmp_path, bags):
    build(bags, "intervals.csv", tmp_path / "set")
    longer = (ModalitySpec("imu", "imu", 2.0, (20, 6)),)
    with pytest.raises(DataError, match="'imu'.*sentryfuse|'imu'.*make the data set again"):
        dataset(str(tmp_path / "set")).load(longer)
    with pytest.raises(DataError, match="audio"):
        dataset(str(tmp_path / "set")).load((ModalitySpec("audio", "audio", 1.0, (20, 16)),))
    np.save(tmp_path / "set" / "imu.npy", np.zeros((3, 20, 6), np.float32))
    with pytest.raises(DataError, match="imu.npy"):
        dataset(str(tmp_path / "set")).load(SPECS)
    (tmp_path / "set" / "windows.csv").write_text("bag\n")
    with pytest.raises(DataError, match="windows.csv"):
        dataset(str(tmp_path / "set")).load(SPECS)
