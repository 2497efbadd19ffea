"""Trust tables of made-up IMU windows, which the virtual robot's IMU agrees with."""

from dataclasses import replace

import numpy as np
from virtual_robot import FOUR, tiny_engine

from sentryfuse_ros.preprocessing import model_input
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.sensing.trust_table import trust_record
from sentryfuse_ros.training.trust import Windows, fit_table

IMU = next(spec for spec in FOUR if spec.name == "imu")


def imu_windows(count, seed=0, shaken=0.0):
    """(count, 40, 6) windows of what `virtual_robot.Robot.imu` sends, with a vibration of this size [m/s^2] on top."""
    random = np.random.default_rng(seed)
    stamps = np.arange(1, 101) * 10**7
    windows = []
    for _ in range(count):
        rows = random.normal(0, 0.2, (100, 6)) + (0, 0, 0, 0, 0, 9.8)
        rows[:, 3:] += shaken * np.sin(0.3 * np.arange(100))[:, None]
        windows.append(model_input(IMU, stamps, rows.astype(np.float32), int(random.integers(990, 1001)) * 10**6))
    return np.stack(windows)


def windows_of(x, conditions=None):
    """`training.trust.Windows` of these, every fourth of them for validation."""
    return Windows(IMU, len(x), lambda at: x[at], np.arange(len(x)) % 4 == 3, conditions or {})


def imu_table():
    return fit_table(windows_of(imu_windows(300)))


def trusting_engine(table):
    """The virtual robot's engine, whose checkpoint has a table for the IMU alone."""
    engine = tiny_engine()
    return Engine(replace(engine.checkpoint, trust=trust_record({"imu": table}, "")), engine.backend)
