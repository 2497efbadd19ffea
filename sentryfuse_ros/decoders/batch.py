"""What a decoder hands on: for every message its stamp, fault and fingerprint, and the rows of the good ones."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np


class Fault(enum.IntEnum):
    """Why the payload of a message is not used. NONE: it is."""

    NONE = 0
    MALFORMED = 1  # bytes that are not such a message
    UNSUPPORTED = 2  # a well-formed message in an encoding or layout that is not read here
    NAN = 3  # not a number where a number must be
    OUT_OF_RANGE = 4  # a value no such sensor can measure
    BLACK = 5  # camera: covered, or no light; depth: no return at all
    SATURATED = 6  # camera: all at full scale
    EMPTY = 7  # nothing was measured: no points, no samples, all six IMU values exactly 0
    SILENT = 8  # audio: a dead microphone, not a quiet room
    CLIPPED = 9  # audio: too many samples at full scale


@dataclass(slots=True)
class Batch:
    """`n` messages of one sensor in arrival order, and the `k` rows of those without fault.

    Rows are float32: imu (k, 6) gyro xyz [rad/s] and accel xyz [m/s^2]; camera and lidar (k, C, H, W);
    audio (k,) mono, full scale -1..1.
    """

    stamp_ns: np.ndarray  # int64 (n,) header stamp, 0 where the message could not be parsed
    fault: np.ndarray  # uint8 (n,) Fault
    fingerprint: np.ndarray  # uint64 (n,) equal for equal payloads, header excluded
    row_stamp_ns: np.ndarray  # int64 (k,) stamp of every row
    rows: np.ndarray  # (k, ...) see above
    error: str = ""  # text of the last decode error, for diagnostics
