"""Small rosbag2 recordings for tests, written by `rosbags`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cdr_messages import STORE, image, imu, raw
from rosbags.rosbag2 import StoragePlugin, Writer

from sentryfuse_ros.nanoseconds import NS_PER_S as NS

T0 = 1_600_000_000 * NS


def write_bag(path: Path, seconds: float = 3.0, storage=StoragePlugin.MCAP, camera: bool = True, extra: bool = True) -> Path:
    """Depth camera at 20 Hz, IMU at 50 Hz, and a topic of a type nobody knows the use of."""
    random = np.random.default_rng(0)
    with Writer(path, version=9, storage_plugin=storage) as writer:

        def connect(topic, msg_type):
            return writer.add_connection(topic, msg_type, typestore=STORE)

        rows = []
        if camera:
            frames = connect("/cam/depth", "sensor_msgs/msg/Image")
            for i in range(int(seconds * 20)):
                t = T0 + i * NS // 20
                rows.append((t, frames, raw(image(random.integers(1500, 3000, (30, 40)).astype(np.uint16), "16UC1", stamp_ns=t))))
        motion = connect("/imu/raw", "sensor_msgs/msg/Imu")
        for i in range(int(seconds * 50)):
            t = T0 + i * NS // 50
            rows.append((t, motion, raw(imu(random.normal(0, 0.2, 3), random.normal(0, 0.2, 3) + (0, 0, 9.8), stamp_ns=t))))
        if extra:
            text = connect("/notes", "std_msgs/msg/String")
            rows.append(
                (T0, text, bytes(STORE.serialize_cdr(STORE.types["std_msgs/msg/String"]("hello"), "std_msgs/msg/String")))
            )
        for t, connection, data in sorted(rows, key=lambda row: row[0]):
            writer.write(connection, t, data)
    return path
