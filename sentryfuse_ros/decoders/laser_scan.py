"""sensor_msgs/LaserScan -> the same frames as of a point cloud whose points lie in the plane z = 0.

A range that is NaN, infinite, below range_min, or not below range_max is a beam without return and is dropped (REP 117; many
drivers write range_max itself for no return). The faults are those of `point_cloud`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import DecodeError
from .cdr import CdrReader, field_array, message_stamp_ns
from .point_cloud import LidarDecoder

# angle min, max, increment; time increment, scan time; range min, max
_GEOMETRY = struct.Struct("<7f")


@dataclass
class Scan:
    """One scan: ranges (N,) [m] and intensities (N,) or (0,)."""

    stamp_ns: int
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: np.ndarray
    intensities: np.ndarray

    @property
    def points(self) -> int:
        """Number of beams."""
        return self.ranges.size

    def columns(self, every: int, with_intensity: bool = False) -> np.ndarray:
        """Every ``every``-th beam as x, y, z [m] and intensity, float32 (3 or 4, n); NaN for beams without return."""
        distance = self.ranges[::every]
        cosine, sine = _directions(distance.size, self.angle_min, self.angle_increment * every)
        out = np.zeros((4 if with_intensity and self.intensities.size else 3, distance.size), np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.where((distance >= self.range_min) & (distance < self.range_max), distance, np.nan)
            np.multiply(distance, cosine, out=out[0])
            np.multiply(distance, sine, out=out[1])
        if len(out) == 4:
            out[3] = self.intensities[::every]
        return out


class ScanDecoder(LidarDecoder[Scan]):
    """Decoder of sensor_msgs/LaserScan."""

    msg_types = ("sensor_msgs/msg/LaserScan",)

    def read_raw(self, reader: CdrReader) -> Scan:
        stamp_ns = reader.header()
        angle_min, _, increment, _, _, range_min, range_max = reader.unpack(_GEOMETRY, 4)
        return self._scan(stamp_ns, angle_min, increment, range_min, range_max, reader.array("<f4"), reader.array("<f4"))

    def read_object(self, message: Any) -> Scan:
        return self._scan(
            message_stamp_ns(message),
            message.angle_min,
            message.angle_increment,
            message.range_min,
            message.range_max,
            field_array(message.ranges, np.float32),
            field_array(message.intensities, np.float32),
        )

    def _scan(
        self,
        stamp_ns: int,
        angle_min: float,
        increment: float,
        range_min: float,
        range_max: float,
        ranges: np.ndarray,
        intensities: np.ndarray,
    ) -> Scan:
        geometry = (angle_min, increment, range_min, range_max)
        if not np.isfinite(geometry[:3]).all() or np.isnan(range_max) or intensities.size not in (0, ranges.size):
            raise DecodeError(
                self.msg_type,
                f"angle_min {angle_min:g}, angle_increment {increment:g}, ranges "
                f"{range_min:g} to {range_max:g}, {ranges.size} beams, {intensities.size} intensities",
                "finite geometry, and as many intensities as beams or none",
                "check the driver",
            )
        return Scan(stamp_ns, angle_min, increment, range_min, range_max, ranges, intensities)


@lru_cache(maxsize=8)
def _directions(beams: int, angle_min: float, increment: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of every beam (N,), float32."""
    angle = angle_min + increment * np.arange(beams)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
