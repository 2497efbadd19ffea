"""What a decoder returns: the stamp, fault and fingerprint of every message, and the rows of the good ones."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np


class PayloadFault(enum.IntEnum):
    """Why the payload of a message is not used; NONE for a message that is used."""

    NONE = 0
    MALFORMED = 1  # the bytes are no message of the type
    UNSUPPORTED = 2  # a well-formed message in an encoding or layout that is not read here
    NAN = 3  # NaN or infinity where a number is needed
    OUT_OF_RANGE = 4  # a value that no such sensor can measure
    BLACK = 5  # camera: covered, or no light; depth camera: no return at all
    SATURATED = 6  # camera: every pixel at full scale
    EMPTY = 7  # nothing was measured: no points, no samples, all six IMU values exactly 0
    SILENT = 8  # audio: a dead microphone, which is quieter than a quiet room
    CLIPPED = 9  # audio: too many samples at full scale


@dataclass(slots=True)
class Batch:
    """`n` messages of one sensor in the order of arrival, and the `k` rows of those without a fault.

    Rows are float32. imu: (k, 6) gyro xyz [rad/s] and accel xyz [m/s^2]; camera and lidar: (k, C, H, W); audio: (k,) mono,
    full scale -1..1; other kinds: as their decoder says.
    """

    stamp_ns: np.ndarray  # int64 (n,) header stamp, 0 where the message could not be parsed
    fault: np.ndarray  # uint8 (n,) PayloadFault
    fingerprint: np.ndarray  # uint64 (n,) equal for equal payloads; the header does not count
    row_stamp_ns: np.ndarray  # int64 (k,) stamp of every row
    rows: np.ndarray  # float32 (k, ...)
    error: str = ""  # text of the last fault in the batch, for diagnostics
