"""Messages for the tests of the decoders: built and serialised by `rosbags`, or read from recorded bags."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentryfuse_ros.paths import data_root

pytest.importorskip("rosbags", reason="rosbags builds the test messages: pip install rosbags")
from rosbags.highlevel import AnyReader  # noqa: E402
from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # noqa: E402

STORE = get_typestore(Stores.ROS2_JAZZY)
_AUDIO = {
    "sentryfuse_ros/msg/AudioChunk": (Path(__file__).parents[1] / "msg" / "AudioChunk.msg").read_text(),
    "audio_common_msgs/msg/AudioData": "uint8[] data",
    "audio_common_msgs/msg/AudioDataStamped": "std_msgs/Header header\naudio_common_msgs/AudioData audio",
}
for _name, _text in _AUDIO.items():
    STORE.register(get_types_from_msg(_text, _name))
# The other package of that name (mgonzs13/audio_common), whose AudioData is another message.
PORT_AUDIO = get_typestore(Stores.ROS2_JAZZY)
for _name, _text in {
    "audio_common_msgs/msg/AudioData": "float32[] float32_data\nint32[] int32_data\nint16[] int16_data\n"
    "int8[] int8_data\nuint8[] uint8_data",
    "audio_common_msgs/msg/AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk",
    "audio_common_msgs/msg/Audio": "audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info",
    "audio_common_msgs/msg/AudioStamped": "std_msgs/Header header\naudio_common_msgs/Audio audio",
}.items():
    PORT_AUDIO.register(get_types_from_msg(_text, _name))


def make(msg_type: str, *values: Any, store: Any = STORE) -> Any:
    """A message object of ``msg_type`` (package/Name) from its fields in order."""
    return store.types[msg_type.replace("/", "/msg/")](*values)


def header(stamp_ns: int = 1_700_000_000_123_456_789, frame_id: str = "sensor") -> Any:
    return make("std_msgs/Header", make("builtin_interfaces/Time", *divmod(stamp_ns, 10**9)), frame_id)


def raw(message: Any, little_endian: bool = True, store: Any = STORE) -> bytes:
    """CDR bytes of a message object."""
    return bytes(store.serialize_cdr(message, message.__msgtype__, little_endian=little_endian))


def deserializer(msg_type: str, store: Any = STORE) -> Any:
    return lambda data: store.deserialize_cdr(data, msg_type)


def image(pixels: np.ndarray, encoding: str, pad: int = 0, big_endian: bool = False, **head: Any) -> Any:
    """sensor_msgs/Image of (H, W[, C]) pixels, ``pad`` bytes of junk after every row."""
    pixels = np.asarray(pixels)
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.ascontiguousarray(stored).view(np.uint8).reshape(len(pixels), pixels[:1].nbytes)
    junk = np.random.default_rng(len(rows)).integers(0, 256, (len(rows), pad), np.uint8)
    data = np.concatenate((rows, junk), axis=1)
    return make(
        "sensor_msgs/Image", header(**head), *pixels.shape[:2], encoding, int(big_endian), data.shape[1], data.reshape(-1)
    )


def compressed(data: bytes | np.ndarray, coding: str, **head: Any) -> Any:
    return make("sensor_msgs/CompressedImage", header(**head), coding, np.frombuffer(bytes(data), np.uint8))


def imu(gyro: Any = (0.1, 0.2, 0.3), accel: Any = (0.0, 0.5, 9.81), orientation: float = 0.0, **head: Any) -> Any:
    vector, none = "geometry_msgs/Vector3", np.zeros(9)
    return make(
        "sensor_msgs/Imu",
        header(**head),
        make("geometry_msgs/Quaternion", orientation, 0.0, 0.0, 1.0),
        none,
        make(vector, *map(float, gyro)),
        none,
        make(vector, *map(float, accel)),
        none,
    )


def audio(samples: np.ndarray, rate_hz: int = 16000, channels: int = 1, **head: Any) -> Any:
    return make("sentryfuse_ros/AudioChunk", header(**head), rate_hz, channels, np.asarray(samples, np.int16))


POINT_DATATYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def cloud(
    layout: np.dtype, values: dict[str, np.ndarray], height: int = 1, row_pad: int = 0, big_endian: bool = False, **head: Any
) -> Any:
    """sensor_msgs/PointCloud2 of points with the given numpy layout; bytes between the fields are junk."""
    count = len(values["x"])
    data = np.random.default_rng(count).integers(0, 256, (count, layout.itemsize), np.uint8)
    fields = []
    for name in layout.names:
        dtype, offset = layout.fields[name][:2]
        column = np.asarray(values[name]).astype(dtype.newbyteorder(">" if big_endian else "<"))
        data[:, offset : offset + dtype.itemsize] = column[:, None].view(np.uint8)
        fields.append(make("sensor_msgs/PointField", name, offset, POINT_DATATYPES[dtype.str[1:]], 1))
    rows = data.reshape(height, -1)
    rows = np.concatenate((rows, np.full((height, row_pad), 0xAB, np.uint8)), axis=1)
    return make(
        "sensor_msgs/PointCloud2",
        header(**head),
        height,
        count // height,
        fields,
        big_endian,
        layout.itemsize,
        rows.shape[1],
        rows.reshape(-1),
        False,
    )


def scan(ranges: np.ndarray, intensities: np.ndarray = (), angle_min: float = -np.pi, **head: Any) -> Any:
    ranges = np.asarray(ranges, np.float32)
    # Rounded as on the wire.
    geometry = np.array([angle_min, np.pi, 2 * np.pi / len(ranges), 0, 0.1, 0.1, 30], np.float32)
    return make("sensor_msgs/LaserScan", header(**head), *geometry.tolist(), ranges, np.asarray(intensities, np.float32))


@cache
def bag_messages(bag: str, msg_type: str) -> list[tuple[bytes, Any]]:
    """Every message of a type in a recorded bag, raw and as rosbags deserialises it; skips where there is no bag."""
    path = data_root() / "bags" / bag
    if not path.exists():
        pytest.skip(f"no bag {path}: set SENTRYFUSE_DATA to the folder that holds bags/")
    with AnyReader([path]) as reader:
        chosen = [c for c in reader.connections if c.msgtype == msg_type]
        assert chosen, f"no {msg_type} in {path}"
        return [(bytes(data), reader.deserialize(data, msg_type)) for _, _, data in reader.messages(chosen)]


def longest_run(fingerprint: np.ndarray) -> int:
    """Length of the longest stretch of equal fingerprints."""
    edges = np.flatnonzero(np.concatenate(([True], fingerprint[1:] != fingerprint[:-1], [True])))
    return int(np.diff(edges).max())


def assert_same_batch(one: Any, other: Any) -> None:
    """Two batches are equal in everything but the error text."""
    for part in ("stamp_ns", "fault", "fingerprint", "row_stamp_ns", "rows"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part), err_msg=part)


def serialize_rclpy(message: Any) -> bytes:
    """The same message serialised by rclpy; skips where rclpy is not installed."""
    serialization = pytest.importorskip("rclpy.serialization", reason="rclpy is not installed")
    return bytes(serialization.serialize_message(to_rclpy(message)))


def to_rclpy(message: Any) -> Any:
    """rosbags message object -> rclpy message object of the same type."""
    package, _, name = message.__msgtype__.partition("/msg/")
    module = pytest.importorskip(f"{package}.msg", reason=f"{package} is not installed")
    out = getattr(module, name)()
    for field in out.get_fields_and_field_types():
        value = getattr(message, field)
        if hasattr(value, "__msgtype__"):
            value = to_rclpy(value)
        elif isinstance(value, list):
            value = [to_rclpy(item) for item in value]
        elif isinstance(value, np.ndarray):
            value = value.tobytes() if value.dtype == np.uint8 else value.tolist()
        elif isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bytes):  # array.array, as a subscription delivers it
            import array

            value = array.array("B", value)
        setattr(out, field, value)
    return out
