"""One file per kind of sensor: its messages in, stamps, faults, fingerprints and model rows out.

`make_decoder` loads a kind's file when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ..errors import ParameterError
from ..preprocessing.spec import ModalitySpec
from .batch import Batch, Fault
from .decoder import Decoder

__all__ = ["MSG_TYPES", "Batch", "Decoder", "Fault", "kind_of", "make_decoder"]

# kind -> message type -> file and class that reads it
_DECODERS = {
    "camera": {
        "sensor_msgs/msg/Image": ("image", "CameraDecoder"),
        "sensor_msgs/msg/CompressedImage": ("compressed_image", "CompressedCameraDecoder"),
    },
    "imu": {"sensor_msgs/msg/Imu": ("imu", "ImuDecoder")},
    "audio": dict.fromkeys(
        (
            "sentryfuse_ros/msg/AudioChunk",
            "audio_common_msgs/msg/AudioData",
            "audio_common_msgs/msg/AudioDataStamped",
            "audio_common_msgs/msg/AudioStamped",
        ),
        ("audio", "AudioDecoder"),
    ),
    "lidar": {
        "sensor_msgs/msg/PointCloud2": ("point_cloud", "CloudDecoder"),
        "sensor_msgs/msg/LaserScan": ("laser_scan", "ScanDecoder"),
    },
}
MSG_TYPES = {kind: tuple(types) for kind, types in _DECODERS.items()}


def kind_of(msg_type: str) -> str | None:
    """Kind of sensor a message type belongs to, None where no decoder reads it."""
    return next((kind for kind, types in MSG_TYPES.items() if msg_type in types), None)


def make_decoder(
    kind: str,
    msg_type: str,
    spec: ModalitySpec | None = None,
    limits: Mapping[str, float] | None = None,
    deserialize: Callable[[bytes], Any] | None = None,
) -> Decoder:
    """Decoder for one sensor.

    ``spec`` None: messages are only checked (imu rows come anyway). ``limits`` override the documented
    ``default_limits`` of the kind. ``deserialize(bytes)`` is the real deserialiser of ``msg_type``.
    Raises ParameterError for a kind, message type, limit or spec that does not fit.
    """
    if kind not in _DECODERS:
        raise ParameterError("sensor kind", repr(kind), "one of " + ", ".join(_DECODERS), "set the sensor's kind")
    if msg_type not in _DECODERS[kind]:
        raise ParameterError(
            f"{kind} message type",
            repr(msg_type),
            "one of " + ", ".join(MSG_TYPES[kind]),
            "set the sensor's msg_type, or convert the topic",
        )
    if spec is not None and spec.kind != kind:
        raise ParameterError(
            f"model input {spec.name!r}",
            f"a {kind} sensor",
            f"a {spec.kind} sensor",
            "set the sensor's model_input to an input of its own kind",
        )
    module, name = _DECODERS[kind][msg_type]
    return getattr(import_module(f".{module}", __name__), name)(msg_type, spec, limits, deserialize)
