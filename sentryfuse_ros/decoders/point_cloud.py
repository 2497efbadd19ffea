"""sensor_msgs/PointCloud2 -> rows (k, C, H, W) of `preprocessing.lidar.lidar_frame`, and whether the LiDAR sees anything.

Any layout with fields x, y and z is read: any datatype, offsets, padding, point and row step and byte order, organised or not.
A field ``intensity`` (or ``reflectivity``) is used if the model has a channel for it. Fields are views on the message; only
the columns that are needed, of the points that are needed, are copied: the size of a cloud does not decide what it costs.

A cloud whose frame_id ends in _optical or _optical_frame has the axes of a camera, x right, y down, z forward (REP 103). Its
points are turned to x forward, y left, z up.

Faults: EMPTY, fewer than ``min_points`` points that the model would see: points that are finite and not at the origin and, where
there is a model, within the ranges and angles of its input; OUT_OF_RANGE, most of the points are farther than ``max_range_m``;
UNSUPPORTED, no x, y and z. A single invalid point is no fault but a beam without return, and is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from ..errors import DecodeError
from ..preprocessing.lidar import DEFAULT_MAX_POINTS, lidar_frame, point_step, seen_points
from ..preprocessing.spec import ModalitySpec
from .batch import PayloadFault
from .cdr import CdrReader, field_array, message_stamp_ns
from .decoder import MessageDecoder, Rejected
from .image import fingerprint_bytes

# sensor_msgs/PointField datatype -> numpy
DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
INTENSITY_FIELDS = ("intensity", "reflectivity")
SAMPLE_POINTS = 4096  # points, spread over the cloud, from which the fingerprint is taken and validity is judged at first
FEW_POINTS = 256  # of them, in which most clouds have as many valid points as are needed
_MAX_FIELDS = 256  # a corrupt message may claim any number
_OPTICAL = ("_optical", "_optical_frame")  # ends of the names of camera frames, REP 103


@dataclass
class Cloud:
    """One cloud: for each field a view (N,) or (H, W) on the message."""

    stamp_ns: int
    points: int
    xyz: tuple[np.ndarray, np.ndarray, np.ndarray]
    intensity: np.ndarray | None = None
    optical: bool = False  # the fields x, y, z count to the right, down and forward

    def columns(self, every: int, with_intensity: bool = False) -> np.ndarray:
        """Every ``every``-th point as float32 (3 or 4, n)."""
        fields = (*self.xyz, self.intensity) if with_intensity and self.intensity is not None else self.xyz
        out = np.empty((len(fields), -(-self.points // every)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become inf: no return
            for row, field in zip(out, fields, strict=True):
                row[:] = field.reshape(-1)[::every] if field.ndim == 1 else _every(field, every)
        if self.optical:
            out[0], out[1], out[2] = out[2].copy(), -out[0], -out[1]
        return out


def _every(field: np.ndarray, every: int) -> np.ndarray:
    """Every ``every``-th element of (H, W) in reading order; a reshape would copy all of them first."""
    at = np.arange(0, field.size, every)
    return field[at // field.shape[1], at % field.shape[1]]


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
    default_limits = {
        "min_points": 10.0,  # a sensor with fewer valid points is covered or failing; 0: never EMPTY
        "max_range_m": 1e4,  # farther than any LiDAR reaches
    }

    def fingerprint(self, cloud: Points) -> int:
        # Only the coordinates count: the bytes between the fields are padding, which a driver may leave uninitialised.
        self._sample = cloud.columns(point_step(cloud.points, SAMPLE_POINTS))
        return fingerprint_bytes(self._sample, cloud.points)

    def check(self, cloud: Points) -> None:
        needed, sample = self.limits["min_points"], self._sample
        # Nearly every cloud has nothing far away, and among a few of its points enough that the model sees.
        if np.fmax.reduce(np.abs(sample), axis=None, initial=0.0) <= self.limits["max_range_m"] / 3:  # NaN is no return
            if self._valid(sample[:, :: max(1, sample.shape[1] // FEW_POINTS)]) >= needed:
                return
        valid = self._valid(sample)
        if valid < needed and cloud.points > sample.shape[1]:
            # Looked at are the points that the frame would be made of.
            limit = self.spec.options.get("max_points", DEFAULT_MAX_POINTS) if self.spec is not None else DEFAULT_MAX_POINTS
            sample = cloud.columns(point_step(cloud.points, limit))
            valid = self._valid(sample)
        reach = _reach(sample)
        returns = np.count_nonzero((reach > 0) & (reach < np.inf))
        far = np.count_nonzero((reach > self.limits["max_range_m"]) & (reach < np.inf))
        if 2 * far > returns:
            raise Rejected(
                PayloadFault.OUT_OF_RANGE,
                self.msg_type,
                f"{far} of {returns} points beyond {self.limits['max_range_m']:g} m",
                "coordinates in metres",
                "check the driver, or raise the limit max_range_m",
            )
        if valid < needed:
            outside = returns - valid if self.spec is not None else 0
            where = f", {outside} outside the ranges and angles of the model" if outside else ""
            raise Rejected(
                PayloadFault.EMPTY,
                self.msg_type,
                f"{valid} valid points of {sample.shape[1]}{where}",
                f"at least {needed:g}",
                "check the sensor's window and mounting, or lower the sensor's parameter limits.min_points",
            )

    def _valid(self, columns: np.ndarray) -> int:
        """How many of the points (3, n) the model would see; without a model, how many are finite and not at the origin."""
        if self.spec is not None:
            return int(np.count_nonzero(seen_points(columns, self.spec)))
        reach = _reach(columns)
        return int(np.count_nonzero((reach > 0) & (reach < np.inf)))

    def rows(self, cloud: Points, spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (1,) and the frame (1, C, H, W)."""
        every = point_step(cloud.points, spec.options.get("max_points", DEFAULT_MAX_POINTS))
        columns = cloud.columns(every, with_intensity=spec.shape[1] > 3)
        return np.array([cloud.stamp_ns], np.int64), lidar_frame(columns.T, spec, every)[None]


class CloudDecoder(LidarDecoder[Cloud]):
    """Decoder of sensor_msgs/PointCloud2."""

    msg_types = ("sensor_msgs/msg/PointCloud2",)

    def read_raw(self, reader: CdrReader) -> Cloud:
        stamp_ns, frame_id = reader.header_with_frame()
        height, width, count = reader.uint32(), reader.uint32(), reader.uint32()
        if count > _MAX_FIELDS:
            raise DecodeError(f"{self.msg_type} fields", count, f"at most {_MAX_FIELDS}", "check the driver")
        fields = {}
        for _ in range(count):
            name, offset, datatype = reader.string(), reader.uint32(), reader.uint8()
            reader.uint32()  # count: only the first element of an array field could be a coordinate
            fields[name] = (offset, datatype)
        big_endian, point_bytes, row_bytes = reader.uint8(), reader.uint32(), reader.uint32()
        data = reader.array(np.uint8)
        return self._cloud(stamp_ns, frame_id, height, width, fields, big_endian, point_bytes, row_bytes, data)

    def read_object(self, message: Any) -> Cloud:
        fields = {field.name: (int(field.offset), int(field.datatype)) for field in message.fields}
        return self._cloud(
            message_stamp_ns(message),
            message.header.frame_id,
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
        frame_id: str,
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
        if data.size == points * point_bytes:
            row_bytes = width * point_bytes  # drivers write the size of the whole cloud, of a point, or nothing into row_step
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
            dtype = self._field_type(name, offset, datatype, point_bytes).newbyteorder(">" if big_endian else "<")
            return np.ndarray(shape, dtype, data, offset, strides)

        intensity = next((name for name in INTENSITY_FIELDS if name in fields), None)
        return Cloud(
            stamp_ns,
            points,
            (view("x"), view("y"), view("z")),
            None if intensity is None else view(intensity),
            frame_id.endswith(_OPTICAL),
        )

    def _field_type(self, name: str, offset: int, datatype: int, point_bytes: int) -> np.dtype:
        """Type of a field. Raises DecodeError where it is none, or the field is not inside a point."""
        if datatype not in DATATYPES:
            raise DecodeError(f"{self.msg_type} field {name}", f"datatype {datatype}", "1 to 8", "check the driver")
        dtype = np.dtype(DATATYPES[datatype])
        if offset + dtype.itemsize > point_bytes:
            raise DecodeError(
                f"{self.msg_type} field {name}",
                f"bytes {offset} to {offset + dtype.itemsize}",
                f"inside point_step {point_bytes}",
                "check the driver",
            )
        return dtype


def _reach(columns: np.ndarray) -> np.ndarray:
    """Sum of the sizes of the coordinates (3, n): 0 at the origin, NaN or inf where one of them is."""
    with np.errstate(over="ignore", invalid="ignore"):
        reach: np.ndarray = np.abs(columns[:3]).sum(axis=0)
    return reach
