"""Window settings and small recordings for tests of data sets."""

from sentryfuse_ros.datasets.builder import DatasetTask, build_dataset
from sentryfuse_ros.datasets.extract import WindowSettings, extract_windows
from sentryfuse_ros.datasets.splits import DEFAULT_SHARES
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.settings import build_settings

SPECS = (ModalitySpec("camera", "camera", 1.0, (4, 1, 12, 16), "depth_m"), ModalitySpec("imu", "imu", 1.0, (20, 6)))
SENSORS = build_settings({"sensors": ["camera", "imu"], "camera.topic": "cam/depth", "imu.topic": "imu/raw"}).sensors


def extract(bag, labels, stride_s, sensors=SENSORS, **settings):
    return extract_windows(bag, labels, WindowSettings(SPECS, sensors, stride_s, **settings))


def build(bags, labels, out, stride_s=0.5, shares=DEFAULT_SHARES, progress=lambda done: None, group_by="", **settings):
    windows = WindowSettings(SPECS, SENSORS, stride_s, **settings)
    return build_dataset(DatasetTask(tuple(bags), labels, windows, out, shares, group_by), progress)
