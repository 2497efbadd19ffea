"""UTD-MHAD: 27 actions, 8 subjects, 4 trials; a Kinect's depth and skeleton, and one wearable IMU.

Chen, Jafari, Kehtarnavaz, "UTD-MHAD: A Multimodal Dataset for Human Action Recognition Utilizing a Depth Camera
and a Wearable Inertial Sensor", ICIP 2015. Read from ``utd_mhad/`` under the data root. The original has no time stamps: all
streams of a trial start at time 0, as in the demo bag. Each file has data, offset (862,), ids (861, 3) = action, subject and
trial, counted from 1; trial i is data[offset[i]:offset[i + 1]]:

    depth_60x80_u16mm.npz  data (n, 60, 80) uint16 mm at 30 Hz, background removed by the authors (0), each pixel the mean
                           of the non-zero ones of 4x4, 0 where fewer than 8 of them are
    skeleton.npz           data (n, 20, 3) m at 30 Hz
    inertial.npz           data (n, 6) accel xyz [g], gyro xyz [deg/s] at 50 Hz
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec
from ..preprocessing.camera import camera_frame
from .recording import Group, Recording, Stream
from .repacked import read_ragged

CLASSES = (
    "swipe_left",
    "swipe_right",
    "wave",
    "clap",
    "throw",
    "arm_cross",
    "basketball_shoot",
    "draw_x",
    "draw_circle_clockwise",
    "draw_circle_counter_clockwise",
    "draw_triangle",
    "bowling",
    "boxing",
    "baseball_swing",
    "tennis_swing",
    "arm_curl",
    "tennis_serve",
    "push",
    "knock",
    "catch",
    "pickup_and_throw",
    "jog",
    "walk",
    "sit_to_stand",
    "stand_to_sit",
    "lunge",
    "squat",
)
SPLIT = {"train": (1, 3, 5, 7), "test": (2, 4, 6, 8)}  # the authors' cross-subject split
PROVENANCE = (
    "UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015), depth reduced to 60x80, skeleton and inertial; "
    "no formal licence text, research use, cite the paper"
)

DEPTH_HZ = 30
IMU_HZ = 50
STANDARD_GRAVITY = 9.80665  # m/s^2 per g
SHOULDER_CENTRE, HIP_CENTRE = 1, 3  # joints of the Kinect's twenty
_ORIGIN = "the recordings are at https://personal.utdallas.edu/~kehtar/UTD-MHAD.html"


def _depth(frames_mm: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    return np.stack([camera_frame(frame, spec) for frame in frames_mm])


def _accel(rows: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    return (rows[:, :3] * STANDARD_GRAVITY).astype(np.float32)


def _gyro(rows: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    return np.deg2rad(rows[:, 3:]).astype(np.float32)


def _imu(rows: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    return np.concatenate([_gyro(rows, spec), _accel(rows, spec)], axis=1)


def _skeleton(joints: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    """Joints (k, 20, 3) in metres -> (k, 60), independent of place and body size.

    Each joint is relative to the hip centre of its frame and divided by the trial's median distance from hip centre to shoulder
    centre. The columns of the hip centre are zero.
    """
    # One length per trial: that of a single frame can be wrong by a factor of twenty if joints were lost.
    torso = np.median(np.linalg.norm(joints[:, SHOULDER_CENTRE] - joints[:, HIP_CENTRE], axis=1))
    return ((joints - joints[:, HIP_CENTRE : HIP_CENTRE + 1]) / torso).reshape(len(joints), -1).astype(np.float32)


class Source(NamedTuple):
    """One sensor of the set: its file and rate, the kind of modality it serves, a series' columns, and how to get SI units."""

    file: str
    rate_hz: int
    kind: str
    columns: int | None
    rows: Callable[[np.ndarray, ModalitySpec], np.ndarray]


SOURCES = {
    "depth": Source("depth_60x80_u16mm.npz", DEPTH_HZ, "camera", None, _depth),
    "inertial": Source("inertial.npz", IMU_HZ, "imu", None, _imu),
    "accelerometer": Source("inertial.npz", IMU_HZ, "series", 3, _accel),
    "gyroscope": Source("inertial.npz", IMU_HZ, "series", 3, _gyro),
    "skeleton": Source("skeleton.npz", DEPTH_HZ, "series", 60, _skeleton),
}


def source_of(spec: ModalitySpec) -> Source:
    """The sensor that serves a spec: camera (depth_m) and imu are found by kind under any name, a series by its name.

    Raises DataError if the set has no such sensor, or the sensor has another number of columns.
    """
    if spec.kind == "camera" and spec.encoding == "depth_m":
        return SOURCES["depth"]
    if spec.kind == "imu":
        return SOURCES["inertial"]
    source = SOURCES.get(spec.name)
    if source is None or source.kind != spec.kind:
        series = ", ".join(name for name, s in SOURCES.items() if s.kind == "series")
        raise DataError(
            f"UTD-MHAD modality {spec.name!r}",
            f"kind {spec.kind} {spec.encoding}".strip(),
            f"camera with encoding depth_m, imu, or a series named {series}",
            "train this modality on another data set",
        )
    if source.columns != spec.shape[1]:
        raise DataError(f"UTD-MHAD modality {spec.name!r} columns", spec.shape[1], source.columns, "correct the modality's shape")
    return source


def load(specs: Sequence[ModalitySpec], groups: Sequence[Group] | None = None) -> list[Recording]:
    """All trials of the subjects in ``groups`` (all if None), with a stream for every spec; see `source_of`.

    camera rows (k, 1, H, W) metres; imu (k, 6) gyro [rad/s], accel [m/s^2]; gyroscope (k, 3) rad/s; accelerometer (k, 3)
    m/s^2; skeleton (k, 60) torso lengths, joint by joint x across the picture, y up, z away from the Kinect.
    Label = action - 1, group = subject. Raises DataError if the files are missing or not in the layout above.
    """
    sources = {spec.name: source_of(spec) for spec in specs}
    tables = {file: read_ragged("utd_mhad", file, _ORIGIN) for file in {s.file for s in sources.values()}}
    first_ids = next(iter(tables.values()))["ids"]
    if any(not np.array_equal(t["ids"], first_ids) for t in tables.values()):
        raise DataError("UTD-MHAD trial ids", "different orders in the files", "the same", "fetch the files again")
    recordings = []
    for i, (action, subject, trial) in enumerate(first_ids.tolist()):
        if groups is not None and subject not in groups:
            continue
        streams = {}
        for spec in specs:
            source = sources[spec.name]
            table = tables[source.file]
            rows = source.rows(table["data"][int(table["offset"][i]) : int(table["offset"][i + 1])], spec)
            streams[spec.name] = Stream(_stamps(len(rows), source.rate_hz), rows)
        recordings.append(Recording(f"a{action}_s{subject}_t{trial}", action - 1, subject, streams))
    return recordings


def _stamps(count: int, rate_hz: int) -> np.ndarray:
    # Row 0 is at one period, not at 0, because a window does not include its start.
    return (np.arange(1, count + 1) * NS_PER_S) // rate_hz
