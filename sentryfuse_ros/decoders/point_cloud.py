"""sensor_msgs/PointCloud2 -> rows (k, C, H, W) of `preprocessing.lidar.lidar_frame`, and whether the LiDAR sees anything.

Any layout with fields x, y and z is read: any datatype, offsets, padding, point and row step and byte order, organised or not.
A field ``intensity`` (or ``reflectivity``) is used if the model has a channel for it. Fields are views on the message; only
the columns that are needed, of the points that are needed, are copied.

Faults: EMPTY, fewer than ``min_points`` valid points, which are points that are finite and not at the origin; UNSUPPORTED, no
x, y and z. A single invalid point is no fault but a beam without return, and is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from ..errors import DecodeError
from ..preprocessing.lidar import DEFAULT_MAX_POINTS, lidar_frame, point_step
from ..preprocessing.spec import ModalitySpec
from .batch import PayloadFault
from .cdr import CdrReader, field_array, message_stamp_ns
from .decoder import MessageDecoder, Rejected
from .image import fingerprint_bytes

# sensor_msgs/PointField datatype -> numpy
DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
INTENSITY_FIELDS = ("intensity", "reflectivity")
SAMPLE_POINTS = 4096  # points, spread over the cloud, from which the fingerprint is taken and validity is judged at first
_MAX_FIELDS = 256  # a corrupt message may claim any number


@dataclass
class Cloud:
    """One cloud: for each field a view (N,) or (H, W) on the message."""

    stamp_ns: int
    points: int
    xyz: tuple[np.ndarray, np.ndarray, np.ndarray]
    intensity: np.ndarray | None = None

    def columns(self, every: int, with_intensity: bool = False) -> np.ndarray:
        """Every ``every``-th point as float32 (3 or 4, n)."""
        fields = (*self.xyz, self.intensity) if with_intensity and self.intensity is not None else self.xyz
        out = np.empty((len(fields), -(-self.points // every)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become inf: no return
            for row, field in zip(out, fields, strict=True):
                row[:] = field.reshape(-1)[::every]
        return out


class PointRecord(Protocol):
    """Points of one message, a cloud or a scan."""

    stamp_ns: int

    @property
    def points(self) -> int:
        """Number of points, those without return included."""

    def columns(self, every: int, with_intensity: bool = False) -> np.ndarray:
        """Every ``every``-th point as x, y, z [m] and, if asked for and present, intensity: float32 (3 or 4, n)."""


Points = TypeVar("Points", bound=PointRecord)


class LidarDecoder(MessageDecoder[Points]):
    """What point clouds and scans share; subclasses read the message."""

    kind = "lidar"
    default_limits = {"min_points": 10.0}  # a sensor with fewer valid points is covered or failing; 0: never EMPTY

    def fingerprint(self, cloud: Points) -> int:
        # Only the coordinates count: the bytes between the fields are padding, which a driver may leave uninitialised.
        self._sample = cloud.columns(point_step(cloud.points, SAMPLE_POINTS))
        return fingerprint_bytes(self._sample, cloud.points)

    def check(self, cloud: Points) -> None:
        needed = self.limits["min_points"]
        if _valid(self._sample) >= needed:
            return
        valid = _valid(cloud.columns(1)) if cloud.points > self._sample.shape[1] else _valid(self._sample)
        if valid < needed:
            raise Rejected(
                PayloadFault.EMPTY,
                self.msg_type,
                f"{valid} valid points of {cloud.points}",
                f"at least {needed:g}",
                "check the sensor's window, or lower its parameter limits.min_points",
            )

    def rows(self, cloud: Points, spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (1,) and the frame (1, C, H, W)."""
        every = point_step(cloud.points, spec.options.get("max_points", DEFAULT_MAX_POINTS))
        columns = cloud.columns(every, with_intensity=spec.shape[1] > 3)
        return np.array([cloud.stamp_ns], np.int64), lidar_frame(columns.T, spec, every)[None]


class CloudDecoder(LidarDecoder[Cloud]):
    """Decoder of sensor_msgs/PointCloud2."""

    msg_types = ("sensor_msgs/msg/PointCloud2",)

    def read_raw(self, reader: CdrReader) -> Cloud:
        stamp_ns = reader.header()
        height, width, count = reader.uint32(), reader.uint32(), reader.uint32()
        if count > _MAX_FIELDS:
            raise DecodeError(f"{self.msg_type} fields", count, f"at most {_MAX_FIELDS}", "check the driver")
        fields = {}
        for _ in range(count):
            name, offset, datatype = reader.string(), reader.uint32(), reader.uint8()
            reader.uint32()  # count: only the first element of an array field could be a coordinate
            fields[name] = (offset, datatype)
        big_endian, point_bytes, row_bytes = reader.uint8(), reader.uint32(), reader.uint32()
        return self._cloud(stamp_ns, height, width, fields, big_endian, point_bytes, row_bytes, reader.array(np.uint8))

    def read_object(self, message: Any) -> Cloud:
        fields = {field.name: (int(field.offset), int(field.datatype)) for field in message.fields}
        return self._cloud(
            message_stamp_ns(message),
            int(message.height),
            int(message.width),
            fields,
            message.is_bigendian,
            int(message.point_step),
            int(message.row_step),
            field_array(message.data, np.uint8),
        )

    def _cloud(
        self,
        stamp_ns: int,
        height: int,
        width: int,
        fields: Mapping[str, tuple[int, int]],
        big_endian: int,
        point_bytes: int,
        row_bytes: int,
        data: np.ndarray,
    ) -> Cloud:
        points = height * width
        if not {"x", "y", "z"} <= set(fields):
            raise Rejected(
                PayloadFault.UNSUPPORTED,
                f"{self.msg_type} fields",
                " ".join(fields)[:80] or "none",
                "x, y and z",
                "remap to a topic with coordinates",
            )
        if points == 0:
            nothing = np.empty(0, np.float32)
            return Cloud(stamp_ns, 0, (nothing, nothing, nothing))
        if (
            point_bytes == 0
            or (height > 1 and row_bytes < width * point_bytes)
            or (data.size < row_bytes * (height - 1) + width * point_bytes)
        ):
            raise DecodeError(
                f"{self.msg_type} {width} x {height} points",
                f"point_step {point_bytes}, row_step {row_bytes}, {data.size} bytes",
                "row_step x height bytes, row_step of at least width x point_step",
                "check the driver",
            )
        # Rows without padding between them are viewed as one row, because views with one axis are the fastest.
        flat = height == 1 or row_bytes == width * point_bytes
        shape, strides = ((points,), (point_bytes,)) if flat else ((height, width), (row_bytes, point_bytes))

        def view(name: str) -> np.ndarray:
            offset, datatype = fields[name]
            if datatype not in DATATYPES:
                raise DecodeError(f"{self.msg_type} field {name}", f"datatype {datatype}", "1 to 8", "check the driver")
            dtype = np.dtype(DATATYPES[datatype]).newbyteorder(">" if big_endian else "<")
            if offset + dtype.itemsize > point_bytes:
                raise DecodeError(
                    f"{self.msg_type} field {name}",
                    f"bytes {offset} to {offset + dtype.itemsize}",
                    f"inside point_step {point_bytes}",
                    "check the driver",
                )
            return np.ndarray(shape, dtype, data, offset, strides)

        intensity = next((name for name in INTENSITY_FIELDS if name in fields), None)
        return Cloud(stamp_ns, points, (view("x"), view("y"), view("z")), None if intensity is None else view(intensity))


def _valid(columns: np.ndarray) -> int:
    """How many of the points (3, n) are finite and not at the origin."""
    reach = np.abs(columns).sum(axis=0)  # NaN and inf propagate, and the origin gives 0
    return int(np.count_nonzero((reach > 0) & (reach < np.inf)))
