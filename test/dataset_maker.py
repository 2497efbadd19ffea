"""Window settings and small recordings for tests of data sets."""

import pytest
from bag_maker import labelled

from sentryfuse_ros.datasets.builder import DatasetTask, build_dataset
from sentryfuse_ros.datasets.extract import WindowSettings, extract_windows
from sentryfuse_ros.datasets.splits import DEFAULT_SHARES
from sentryfuse_ros.paths import data_root
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.settings import build_settings

SPECS = (ModalitySpec("camera", "camera", 1.0, (4, 1, 12, 16), "depth_m"), ModalitySpec("imu", "imu", 1.0, (20, 6)))
SENSORS = build_settings({"sensors": ["camera", "imu"], "camera.topic": "cam/depth", "imu.topic": "imu/raw"}).sensors


def needs(*parts):
    """Marks a test that reads a file of a public data set."""
    path = data_root().joinpath("data", *parts)
    return pytest.mark.skipif(not path.exists(), reason=f"no recordings at {path}: set SENTRYFUSE_DATA")


def labelled_runs(folder):
    """Four bags of 4 s, half of them on sand and half on wood, each with its intervals.csv."""
    return [labelled(folder / f"run{i}", (0, 2, "sand"), (2, 4, "wood"), seconds=4) for i in range(4)]


def extract(bag, labels, stride_s, sensors=SENSORS, **settings):
    return extract_windows(bag, labels, WindowSettings(SPECS, sensors, stride_s, **settings))


def build(bags, labels, out, stride_s=0.5, shares=DEFAULT_SHARES, progress=lambda done: None, group_by="", **settings):
    windows = WindowSettings(SPECS, SENSORS, stride_s, **settings)
    return build_dataset(DatasetTask(tuple(bags), labels, windows, out, shares, group_by), progress)
