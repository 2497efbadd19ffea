"""A lie of each kind of sensor, told in its serialised messages: they stay readable, and their content is wrong.

benchmarks/trust has many more; this is the one that a `lie` of a fault script or of `fault_node` tells.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from ..decoders.cdr import CdrReader
from ..errors import DecodeError

STANDARD_GRAVITY = 9.80665
FEET = 3.28084
_IMU_DOUBLES, _ACCEL = 37, 25  # doubles that an Imu message ends in, and which of them is the first acceleration
_FLOAT32 = 7  # sensor_msgs/PointField


def told(msg_type: str, raw: bytes, chance: random.Random) -> bytes:
    """The lying message. A message of another type, or one that cannot be read, is returned as it is."""
    lie = _LIES.get(msg_type)
    try:
        return raw if lie is None else lie(raw, chance)
    except DecodeError:
        return raw


def _accelerations_in_g(raw: bytes, chance: random.Random) -> bytes:
    reader = CdrReader(raw, "Imu")
    reader.header()
    at = reader.take(_IMU_DOUBLES * 8, 8) + _ACCEL * 8
    accel = np.frombuffer(raw, "<f8", 3, at) / STANDARD_GRAVITY
    return raw[:at] + accel.tobytes() + raw[at + 24 :]


def _colours_exchanged(raw: bytes, chance: random.Random) -> bytes:
    """Red and blue; other pictures than 8-bit colours become negatives."""
    reader = CdrReader(raw, "Image")
    reader.header()
    height, _, encoding = reader.uint32(), reader.uint32(), reader.string()
    reader.uint8()
    step = reader.uint32()
    data = np.array(reader.array(np.uint8))
    begin = reader.offset - len(data)
    if encoding in ("rgb8", "bgr8") and len(data) == step * height:
        rows = data.reshape(height, step)
        pixels = rows[:, : step // 3 * 3].reshape(height, -1, 3)
        rows[:, : step // 3 * 3] = pixels[..., ::-1].reshape(height, -1)
    else:
        data = ~data
    return raw[:begin] + data.tobytes() + raw[reader.offset :]


def _distances_in_feet(raw: bytes, chance: random.Random) -> bytes:
    reader = CdrReader(raw, "PointCloud2")
    reader.header()
    reader.uint32(), reader.uint32()
    offsets = []
    for _ in range(min(reader.uint32(), 256)):
        name, offset, datatype, _ = reader.string(), reader.uint32(), reader.uint8(), reader.uint32()
        offsets += [offset] if name in ("x", "y", "z") and datatype == _FLOAT32 else []
    reader.uint8()
    size = reader.uint32()
    reader.uint32()
    data = np.array(reader.array(np.uint8))
    points = data[: len(data) // max(size, 1) * size].reshape(-1, size)
    for offset in offsets:
        if offset + 4 <= size:
            metres = np.ascontiguousarray(points[:, offset : offset + 4]).view("<f4")
            points[:, offset : offset + 4] = (metres * np.float32(FEET)).view(np.uint8)
    return raw[: reader.offset - len(data)] + data.tobytes() + raw[reader.offset :]


def _random_samples(raw: bytes, chance: random.Random) -> bytes:
    """Compressed sound, as a 16-bit format is given it."""
    reader = CdrReader(raw, "AudioChunk")
    reader.header()
    reader.uint32(), reader.uint8()
    samples = reader.array("<i2")
    return raw[: reader.offset - samples.nbytes] + chance.randbytes(samples.nbytes) + raw[reader.offset :]


_LIES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "sensor_msgs/msg/Imu": _accelerations_in_g,
    "sensor_msgs/msg/Image": _colours_exchanged,
    "sensor_msgs/msg/PointCloud2": _distances_in_feet,
    "sentryfuse_ros/msg/AudioChunk": _random_samples,
}
