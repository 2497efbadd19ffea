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
from sensor_msgs.msg import PointField

from ..bags.header_stamps import stamp_of, stamped
from ..evaluation.reference_load import Stream, message_fields
from .message_types import message_class
from .ros_start import start_ros

PAYLOADS = 8  # Payloads that never change would be FROZEN, so a few of them take turns.
COUNTED_TO = 1000  # messages are numbered modulo this, in the last three digits of their stamps [ns]
QUEUE_DEPTH = 200


def number_of(raw: bytes) -> int:
    """Number of a serialised message of the load, modulo COUNTED_TO."""
    return stamp_of(raw) % COUNTED_TO


def make_message(stream: Stream, rng: np.random.Generator) -> Any:
    """One message of a stream with random contents."""
    message = message_class(stream.msg_type)()
    for name, value in message_fields(stream, rng).items():
        *path, last = name.split(".")
        part = message
        for step in path:
            part = getattr(part, step)
        setattr(part, last, [PointField(**record) for record in value] if isinstance(value, list) else value)
    return message


def publish(streams: Sequence[Stream], seconds: float) -> None:
    """Publish the streams for so many seconds."""
    start_ros()
    node = rclpy.create_node("bench_load")
    rng = np.random.default_rng(0)
    payloads = {s.name: [serialize_message(make_message(s, rng)) for _ in range(PAYLOADS)] for s in streams}
    publishers = {s.name: node.create_publisher(message_class(s.msg_type), s.topic, QUEUE_DEPTH) for s in streams}
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
