"""Publishes the reference load, in a process of its own.

`python -m sentryfuse_ros.nodes.bench_load STREAMS SECONDS`, where STREAMS are `evaluation.reference_load.Stream`s as JSON.

The number of each message is written into the last three digits of its stamp, so that a receiver knows how many it has missed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import rclpy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, Imu, PointCloud2, PointField

from ..bags.header_stamps import stamp_of, stamped
from ..evaluation.reference_load import Stream
from ..msg import AudioChunk

PAYLOADS = 8  # Payloads that never change would be FROZEN, so a few of them take turns.
COUNTED_TO = 1000  # messages are numbered modulo this, in the last three digits of their stamps [ns]
QUEUE_DEPTH = 200
MESSAGE_TYPES = {"camera": Image, "lidar": PointCloud2, "imu": Imu, "audio": AudioChunk}


def number_of(raw: bytes) -> int:
    """Number of a serialised message of the load, modulo COUNTED_TO."""
    return stamp_of(raw) % COUNTED_TO


def make_message(stream: Stream, rng: np.random.Generator) -> Any:
    """One message of a stream with random contents."""
    if stream.kind == "camera":
        encoding, dtype, channels = {
            "depth_m": ("16UC1", np.uint16, 1),
            "mono": ("mono8", np.uint8, 1),
        }.get(stream.encoding, ("rgb8", np.uint8, 3))
        pixels = rng.integers(0, 255, 640 * 480 * channels, dtype)
        return Image(height=480, width=640, encoding=encoding, step=640 * channels * pixels.itemsize, data=pixels.tobytes())
    if stream.kind == "lidar":
        names = ("x", "y", "z", "intensity")
        fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate(names)]
        points = rng.normal(0, 10, 65000 * 4).astype(np.float32).tobytes()
        return PointCloud2(height=1, width=65000, fields=fields, point_step=16, row_step=65000 * 16, data=points)
    if stream.kind == "imu":
        message = Imu()
        turn, push = message.angular_velocity, message.linear_acceleration
        (turn.x, turn.y, turn.z), (push.x, push.y, push.z) = rng.normal(0, 0.1, 3), rng.normal((0, 0, 9.81), 0.1)
        return message
    return AudioChunk(sample_rate=16000, channels=1, samples=rng.integers(-3000, 3000, 320, np.int16))


def publish(streams: Sequence[Stream], seconds: float) -> None:
    """Publish the streams for so many seconds."""
    rclpy.init()
    node = rclpy.create_node("bench_load")
    rng = np.random.default_rng(0)
    payloads = {s.name: [serialize_message(make_message(s, rng)) for _ in range(PAYLOADS)] for s in streams}
    publishers = {s.name: node.create_publisher(MESSAGE_TYPES[s.kind], s.topic, QUEUE_DEPTH) for s in streams}
    begin = time.monotonic()
    sent, due = dict.fromkeys(publishers, 0), dict.fromkeys(publishers, begin)
    while time.monotonic() - begin < seconds:
        now = time.monotonic()
        for s in streams:
            if now >= due[s.name]:
                sent[s.name] += 1
                number, now_ns = sent[s.name], time.time_ns()
                stamp_ns = now_ns - now_ns % COUNTED_TO + number % COUNTED_TO
                publishers[s.name].publish(stamped(payloads[s.name][number % PAYLOADS], stamp_ns))
                due[s.name] += 1.0 / s.rate_hz
        time.sleep(max(0.0, min(due.values()) - time.monotonic()))
    rclpy.try_shutdown()


if __name__ == "__main__":
    publish([Stream(*values) for values in json.loads(sys.argv[1])], float(sys.argv[2]))
