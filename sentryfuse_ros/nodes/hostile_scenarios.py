"""Messages that are as large, as many or as wrong as messages may be, for `sentryfuse bench faults`. The functions that give a
row get a rig whose sensors are all live, and leave it so."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message

from ..bags.bag import Topic
from ..replay.fault_matrix import MatrixRow
from ..replay.fuzzing import mutate
from .fault_rig import Rig
from .fault_rows import Samples, fault_row, pause_troubles, return_troubles
from .message_types import message_class

IMAGE, CLOUD, SOUND = "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2", "sentryfuse_ros/msg/AudioChunk"
FUZZ_HZ = 60.0


def hostile_messages(topics: Mapping[str, Topic], samples: Samples) -> dict[str, list[bytes]]:
    """By sensor, messages that are as large, as many or as long as messages may be."""
    out = {}
    for sensor, raws in samples.items():
        msg_type = topics[sensor].msg_type
        if msg_type not in (IMAGE, CLOUD, SOUND):  # small ones can only be many
            out[sensor] = [raws[index % len(raws)] for index in range(1500)]
            continue
        message = deserialize_message(raws[0], message_class(msg_type))
        if msg_type == SOUND:
            message.samples = np.random.default_rng(0).integers(-3000, 3000, 1_000_000).astype(np.int16)
        else:
            row = bytes(message.data)[: message.row_step if msg_type == CLOUD else message.step]
            times = 1 + 12_000_000 // len(row)
            message.height, message.data = (times, row * times) if msg_type == IMAGE else (1, row * times)
            if msg_type == CLOUD:
                message.width = len(row) * times // message.point_step
                message.row_step = message.width * message.point_step
        out[sensor] = [bytes(serialize_message(message))]
    return out


def hostile_message(made: Rig, sensor: str, raws: Sequence[bytes]) -> MatrixRow:
    before = len(made.collector.predictions)
    for raw in raws:
        made.send(sensor, raw)
    made.wait(1.5)
    gap = made.gap_since(before)
    size = f"{len(raws)} messages at once" if len(raws) > 1 else f"one message of {len(raws[0]) / 1e6:.0f} MB"
    return fault_row(sensor, "hostile", pause_troubles(gap) + return_troubles(made, 10.0), gap, size)


def fuzz(made: Rig, samples: Samples, count: int) -> MatrixRow:
    """Mutated messages among the sound ones of every sensor."""
    random, names = np.random.default_rng(0), list(samples)
    everything = [raw for raws in samples.values() for raw in raws]
    before = len(made.collector.predictions)
    begin_s = time.monotonic()
    for index in range(count):
        raws = samples[names[index % len(names)]]
        made.send(names[index % len(names)], mutate(raws[int(random.integers(len(raws)))], random, everything))
        made.wait(max(0.0, begin_s + index / (FUZZ_HZ * len(names)) - time.monotonic()))
    gap = made.gap_since(before)
    failed = made.said_since(0, "loop", "errors so far")
    return fault_row(
        "all", f"fuzzed, {count} messages", pause_troubles(gap) + return_troubles(made, 10.0) + ([failed] if failed else []), gap
    )
