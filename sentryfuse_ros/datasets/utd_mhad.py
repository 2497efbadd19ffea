"""UTD-MHAD: 27 actions, 8 subjects, 4 trials; a Kinect's depth and one wearable IMU.

Chen, Jafari, Kehtarnavaz, "UTD-MHAD: A Multimodal Dataset for Human Action Recognition Utilizing a Depth Camera
and a Wearable Inertial Sensor", ICIP 2015. Read from the repacked ``utd_mhad/*.npz`` under the data root: depth
60x80 uint16 mm at 30 Hz (background removed by the authors), inertial in g and deg/s at 50 Hz. The source has no
time stamps; both streams of a trial start at time 0, as in the demo bag.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..modalities.inputs import ModalitySpec
from ..modalities.inputs.camera import camera_frame
from ..resources import data_path
from .recording import Recording, Stream

CLASSES = (
    "swipe_left", "swipe_right", "wave", "clap", "throw", "arm_cross", "basketball_shoot", "draw_x",
    "draw_circle_clockwise", "draw_circle_counter_clockwise", "draw_triangle", "bowling", "boxing", "baseball_swing",
    "tennis_swing", "arm_curl", "tennis_serve", "push", "knock", "catch", "pickup_and_throw", "jog", "walk",
    "sit_to_stand", "stand_to_sit", "lunge", "squat",
)
SPLIT = {"train": (1, 3, 5, 7), "test": (2, 4, 6, 8)}  # the authors' cross-subject split
PROVENANCE = ("UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015), depth reduced to 60x80 and inertial; "
              "no formal licence text, research use, cite the paper")

DEPTH_HZ = 30
IMU_HZ = 50
STANDARD_GRAVITY = 9.80665  # m/s^2 per g
NS = 1_000_000_000


def load(specs: Sequence[ModalitySpec], groups: Sequence[int] | None = None) -> list[Recording]:
    """All trials of the subjects in ``groups`` (all if None), with a stream for every spec of kind camera or imu.

    camera rows (k, 1, H, W) metres; imu rows (k, 6) gyro [rad/s], accel [m/s^2]. Label = action - 1, group = subject.
    Raises DataError where the files are missing or differ from what is known of them.
    """
    loaders = {"camera": _depth_stream, "imu": _imu_stream}
    unknown = [s.name for s in specs if s.kind not in loaders or (s.kind == "camera" and s.encoding != "depth_m")]
    if unknown:
        raise DataError("UTD-MHAD modalities", unknown, "camera with encoding depth_m, and imu",
                        "train these modalities on another data set")
    tables = {spec.name: _read(_FILES[spec.kind]) for spec in specs}
    first_ids = next(iter(tables.values()))["ids"]
    if any(not np.array_equal(t["ids"], first_ids) for t in tables.values()):
        raise DataError("UTD-MHAD trial ids", "different orders in the two files", "the same", "fetch both files again")
    recordings = []
    for i, (action, subject, trial) in enumerate(first_ids.tolist()):
        if groups is not None and subject not in groups:
            continue
        streams = {}
        for spec in specs:
            table = tables[spec.name]
            part = slice(int(table["offset"][i]), int(table["offset"][i + 1]))
            streams[spec.name] = loaders[spec.kind](table["data"][part], spec)
        recordings.append(Recording(f"a{action}_s{subject}_t{trial}", action - 1, subject, streams))
    return recordings


_FILES = {"camera": "depth_60x80_u16mm.npz", "imu": "inertial.npz"}


def _read(name: str) -> dict[str, np.ndarray]:
    path = data_path("data", "utd_mhad", name)
    try:
        with np.load(path, allow_pickle=False) as file:
            table = {key: file[key] for key in ("data", "offset", "ids")}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"UTD-MHAD file {path}", str(error), "arrays data, offset, ids", "fetch the file again") from error
    if len(table["offset"]) != len(table["ids"]) + 1 or table["offset"][-1] != len(table["data"]):
        raise DataError(f"UTD-MHAD file {path}", "offsets that do not match the rows", "offset[-1] == len(data)",
                        "fetch the file again")
    return table


def _stamps(count: int, rate_hz: int) -> np.ndarray:
    # Row 0 at one period, not at 0: a window holds the rows after its start.
    return (np.arange(1, count + 1) * NS) // rate_hz


def _depth_stream(frames_mm: np.ndarray, spec: ModalitySpec) -> Stream:
    rows = np.stack([camera_frame(frame, spec) for frame in frames_mm])
    return Stream(_stamps(len(rows), DEPTH_HZ), rows)


def _imu_stream(rows: np.ndarray, spec: ModalitySpec) -> Stream:
    accel, gyro = rows[:, :3] * STANDARD_GRAVITY, np.deg2rad(rows[:, 3:])
    return Stream(_stamps(len(rows), IMU_HZ), np.concatenate([gyro, accel], axis=1).astype(np.float32))
