"""Small rosbag2 recordings for tests, written by `rosbags`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cdr_messages import STORE, image, imu, raw
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

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


SPEED_TYPE = "my_robot_msgs/msg/Surface"


def labelled(path, *rows, **options):
    """A bag with intervals.csv: rows (from, to, label) in seconds after its begin."""
    write_bag(path, **options)
    lines = [f"{T0 / NS + a:.9f},{T0 / NS + b:.9f},{label}" for a, b, label in rows]
    (path / "intervals.csv").write_text("\n".join(["t_from,t_to,label", *lines]) + "\n")
    return path


def write_topic_bag(path, own_type=True):
    """IMU, the ground as text, and the ground in a type of the team's own whose definition is in the bag."""
    store = STORE
    if own_type:
        store.register(get_types_from_msg("std_msgs/Header header\nuint8 roughness\nstring label\n", SPEED_TYPE))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=store)
        text = writer.add_connection("/ground", "std_msgs/msg/String", typestore=store)
        own = writer.add_connection("/surface", SPEED_TYPE, typestore=store)
        head, stamp = store.types["std_msgs/msg/Header"], store.types["builtin_interfaces/msg/Time"]
        for i in range(400):
            t = T0 + i * NS // 100
            writer.write(motion, t, raw(imu(np.full(3, 0.01 * (i % 7)), (0, 0, 9.8 + 0.01 * (i % 5)), stamp_ns=t)))
            if i % 10 == 5:
                name = "sand" if i < 200 else "wood"
                message = store.types["std_msgs/msg/String"](name)
                writer.write(text, t, bytes(store.serialize_cdr(message, "std_msgs/msg/String")))
                surface = store.types[SPEED_TYPE](head(stamp((t - NS // 10) // NS, (t - NS // 10) % NS), ""), 3, name)
                writer.write(own, t, bytes(store.serialize_cdr(surface, SPEED_TYPE)))
    return path
