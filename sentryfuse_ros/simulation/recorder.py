"""Writes a simulated run as a rosbag2 recording (mcap) with the intervals file of its labels."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ..bags.label_sources import INTERVALS_FILE, write_intervals
from ..bags.labels import Labels
from ..nanoseconds import ns_to_stamp
from ..paths import share_path
from .battery import Battery
from .odometry import WheelOdometry

AUDIO_TYPE = "sentryfuse_ros/msg/AudioChunk"
TOPICS = {
    "camera": ("/camera/image_raw", "sensor_msgs/msg/Image"),
    "imu": ("/imu/data", "sensor_msgs/msg/Imu"),
    "audio": ("/audio", AUDIO_TYPE),
    "lidar": ("/lidar/points", "sensor_msgs/msg/PointCloud2"),
    "battery": ("/battery_state", "sensor_msgs/msg/BatteryState"),
    "odometry": ("/odom", "nav_msgs/msg/Odometry"),
    "truth": ("/ground_truth/ground", "std_msgs/msg/String"),
}


class Recorder:
    """A recording that is being written. Messages may arrive slightly out of order; they are stored in order of time."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._store.register(get_types_from_msg(share_path("msg", "AudioChunk.msg").read_text(), AUDIO_TYPE))
        self._types = self._store.types
        self._pending: list[tuple[int, int, str, bytes]] = []
        self._count = 0
        self._begun: list[tuple[int, str]] = []
        self._identity = np.zeros(9)

    def __enter__(self) -> Recorder:
        # Every ROS 2 from Iron on reads version 8.
        self._writer = Writer(self._folder, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections = {
            name: self._writer.add_connection(topic, kind, typestore=self._store) for name, (topic, kind) in TOPICS.items()
        }
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._flush(None)
        self._writer.close()

    def _flush(self, until_ns: int | None) -> None:
        self._pending.sort()
        ready = (
            len(self._pending)
            if until_ns is None
            else next((i for i, entry in enumerate(self._pending) if entry[0] > until_ns), len(self._pending))
        )
        for time_ns, _, name, raw in self._pending[:ready]:
            self._writer.write(self._connections[name], time_ns, raw)
        del self._pending[:ready]

    def flush(self, until_ns: int) -> None:
        """Store what was received up to ``until_ns``; nothing older may arrive afterwards."""
        self._flush(until_ns)

    def close_intervals(self, end_ns: int) -> None:
        """Write the intervals file. The intervals follow each other without gaps, the last one ends at ``end_ns``."""
        ends_ns = [*(t for t, _ in self._begun[1:]), end_ns]
        labels = Labels.of((start_ns, stop_ns, label) for (start_ns, label), stop_ns in zip(self._begun, ends_ns, strict=True))
        write_intervals(self._folder / INTERVALS_FILE, labels)

    def _put(self, name: str, received_ns: int, message: Any) -> None:
        raw = bytes(self._store.serialize_cdr(message, TOPICS[name][1]))
        self._pending.append((received_ns, self._count, name, raw))
        self._count += 1

    def _new(self, kind: str, *values: Any) -> Any:
        return self._types[kind](*values)

    def _header(self, stamp_ns: int, frame: str) -> Any:
        stamp = self._new("builtin_interfaces/msg/Time", *ns_to_stamp(stamp_ns))
        return self._new("std_msgs/msg/Header", stamp, frame)

    def _vector(self, values: Any) -> Any:
        return self._new("geometry_msgs/msg/Vector3", *(float(v) for v in values))

    def truth(self, stamp_ns: int, label: str) -> None:
        """The class of the ground under the middle of the robot."""
        self._put("truth", stamp_ns, self._new("std_msgs/msg/String", label))

    def begin_interval(self, stamp_ns: int, label: str) -> None:
        """From here on the ground is ``label``."""
        if not self._begun or self._begun[-1][1] != label:
            self._begun.append((stamp_ns, label))

    def image(self, stamp_ns: int, received_ns: int, picture: np.ndarray) -> None:
        """An image (H, W, 3) uint8 rgb."""
        height, width, _ = picture.shape
        self._put(
            "camera",
            received_ns,
            self._new(
                "sensor_msgs/msg/Image", self._header(stamp_ns, "camera"), height, width, "rgb8", 0, 3 * width, picture.ravel()
            ),
        )

    def depth_image(self, stamp_ns: int, received_ns: int, picture: np.ndarray) -> None:
        """A depth image (H, W) uint16 [mm]."""
        height, width = picture.shape
        data = picture.astype("<u2").view(np.uint8).ravel()
        header = self._header(stamp_ns, "camera")
        self._put(
            "camera",
            received_ns,
            self._new("sensor_msgs/msg/Image", header, height, width, "16UC1", 0, 2 * width, data),
        )

    def imu(self, stamp_ns: int, received_ns: int, sample: np.ndarray) -> None:
        """A sample (6,): gyro xyz [rad/s], specific force xyz [m/s^2]. REP 145 marks the missing orientation by -1."""
        unknown = self._identity.copy()
        unknown[0] = -1.0
        self._put(
            "imu",
            received_ns,
            self._new(
                "sensor_msgs/msg/Imu",
                self._header(stamp_ns, "imu"),
                self._new("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0),
                unknown,
                self._vector(sample[:3]),
                self._identity,
                self._vector(sample[3:]),
                self._identity,
            ),
        )

    def audio(self, stamp_ns: int, received_ns: int, rate_hz: int, samples: np.ndarray) -> None:
        """A chunk of int16 samples (n,), mono."""
        self._put("audio", received_ns, self._new(AUDIO_TYPE, self._header(stamp_ns, "microphone"), rate_hz, 1, samples))

    def cloud(self, stamp_ns: int, received_ns: int, points: np.ndarray) -> None:
        """A cloud (n, 4) float32: x, y, z [m], intensity."""
        names = ("x", "y", "z", "intensity")
        fields = [self._new("sensor_msgs/msg/PointField", name, 4 * i, 7, 1) for i, name in enumerate(names)]
        count = len(points)
        self._put(
            "lidar",
            received_ns,
            self._new(
                "sensor_msgs/msg/PointCloud2",
                self._header(stamp_ns, "lidar"),
                1,
                count,
                fields,
                False,
                16,
                16 * count,
                np.frombuffer(points.astype("<f4").tobytes(), np.uint8),
                True,
            ),
        )

    def battery(self, stamp_ns: int, state: Battery) -> None:
        """``percentage`` is 0..1 and the current negative when discharging, as sensor_msgs/BatteryState defines them."""
        volts, unknown = state.voltage_v, float("nan")
        capacity_ah = state.capacity_wh / 25.9
        self._put(
            "battery",
            stamp_ns,
            self._new(
                "sensor_msgs/msg/BatteryState",
                self._header(stamp_ns, "battery"),
                volts,
                unknown,
                -state.current_a,
                state.fraction * capacity_ah,
                capacity_ah,
                capacity_ah,
                state.fraction,
                2,
                1,
                2,
                True,
                np.zeros(0, np.float32),
                np.zeros(0, np.float32),
                "",
                "",
            ),
        )

    def odometry(self, stamp_ns: int, odometry: WheelOdometry) -> None:
        """Pose in `odom`, twist in `base_link`."""
        half = odometry.yaw_rad / 2
        point = self._new("geometry_msgs/msg/Point", odometry.x_m, odometry.y_m, 0.0)
        turn = self._new("geometry_msgs/msg/Quaternion", 0.0, 0.0, float(np.sin(half)), float(np.cos(half)))
        twist = self._new(
            "geometry_msgs/msg/Twist", self._vector((odometry.speed_mps, 0, 0)), self._vector((0, 0, odometry.turn_rad_s))
        )
        covariance = np.zeros(36)
        self._put(
            "odometry",
            stamp_ns,
            self._new(
                "nav_msgs/msg/Odometry",
                self._header(stamp_ns, "odom"),
                "base_link",
                self._new("geometry_msgs/msg/PoseWithCovariance", self._new("geometry_msgs/msg/Pose", point, turn), covariance),
                self._new("geometry_msgs/msg/TwistWithCovariance", twist, covariance),
            ),
        )
