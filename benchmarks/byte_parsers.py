"""One input of a fuzzer through the decoder of one message type, with model rows: what `coverage_fuzz` and its corpus run."""

from __future__ import annotations

import numpy as np

from sentryfuse_ros.decoders import Decoder, make_decoder
from sentryfuse_ros.preprocessing import ModalitySpec

SPECS = {
    "sensor_msgs/msg/Image": ModalitySpec("camera", "camera", 0.5, (2, 3, 24, 32), "rgb"),
    "sensor_msgs/msg/CompressedImage": ModalitySpec("camera", "camera", 0.5, (2, 3, 24, 32), "rgb"),
    "sensor_msgs/msg/Imu": ModalitySpec("imu", "imu", 1.0, (50, 6)),
    "sensor_msgs/msg/PointCloud2": ModalitySpec("lidar", "lidar", 0.5, (1, 2, 8, 32)),
    "sensor_msgs/msg/LaserScan": ModalitySpec("lidar", "lidar", 0.5, (1, 2, 8, 32)),
    "sentryfuse_ros/msg/AudioChunk": ModalitySpec("audio", "audio", 1.0, (50, 16), options={"sample_rate_hz": 16000}),
    "audio_common_msgs/msg/AudioData": ModalitySpec("audio", "audio", 1.0, (50, 16), options={"sample_rate_hz": 16000}),
}
FUZZED_TYPES = tuple(SPECS)  # the first byte of an input is an index into these
_ARRIVAL_NS = np.array([1_700_000_000_000_000_000])
_decoders: dict[str, Decoder] = {}


def decode_one(data: bytes) -> None:
    """Decode one input; raises what the decoder lets escape, which must be nothing."""
    if not data:
        return
    msg_type = FUZZED_TYPES[data[0] % len(FUZZED_TYPES)]
    if msg_type not in _decoders:
        spec = SPECS[msg_type]
        _decoders[msg_type] = make_decoder(spec.kind, msg_type, spec)
    batch = _decoders[msg_type].decode([data[1:]], _ARRIVAL_NS)
    assert len(batch.fault) == 1 and len(batch.rows) == len(batch.row_stamp_ns), "a batch describes its messages"
