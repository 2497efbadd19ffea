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


def test_a_table_that_a_spreadsheet_wrote_again_is_refused_with_the_cell(tmp_path, bags):
    """It takes the bits of the live sensors for a number and leaves out zeros, and rounds the stamps."""
    build(bags, "intervals.csv", tmp_path / "set")
    table = tmp_path / "set" / "windows.csv"
    head, first, *others = table.read_text().splitlines()
    cells = first.split(",")
    for column, value, words in (
        ("live", "1", "live: saw '1', expected a 0 or 1 for each of camera, imu"),
        ("stamp_ns", "1.6E+18", "stamp_ns: .*whole numbers of nanoseconds"),
    ):
        changed = [value if name == column else cell for name, cell in zip(head.split(","), cells, strict=True)]
        table.write_text("\n".join([head, ",".join(changed), *others]) + "\n")
        folder = dataset(str(tmp_path / "set"))
        with pytest.raises(DataError, match=words):
            folder.stamps_ns() if column == "stamp_ns" else folder.load(SPECS)


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
