"""All pictures of a recording's camera, as the robot would decode them, and how fast its body turned at each of them.

Windows (`window_folder`) hold the few pictures that a model looks at; a stream sees every picture.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..bags.bag import Bag, Topic
from ..bags.find import storage_files
from ..decoders import make_decoder
from ..errors import BagError, DataError, reason_of
from ..files import write_atomically
from ..preprocessing.spec import ModalitySpec
from ..sensing.body_motion import BodyMotion
from ..sensor_kinds import sensor_kind
from .damaged_npz import DAMAGED_NPZ

WHITE = 255  # full scale of the pictures that are kept
_IMU = "imu"


class CameraPictures(NamedTuple):
    """n pictures of one recording.

    stamp_ns (n,) int64; pixels (n, C, H, W) uint8, full scale `WHITE`; turn_rad_s (n,) float32, NaN where no gyro was heard.
    """

    stamp_ns: np.ndarray
    pixels: np.ndarray
    turn_rad_s: np.ndarray

    @property
    def frames(self) -> np.ndarray:
        """As `preprocessing.camera.camera_frame` gives them: (n, C, H, W) float32, shares of full scale."""
        frames: np.ndarray = self.pixels.astype(np.float32) / np.float32(WHITE)
        return frames


def camera_pictures(bag_path: Path, spec: ModalitySpec, keep: Path | None = None) -> CameraPictures:
    """The pictures of a recording's first camera as frames of ``spec``, which is of colour or grey.

    ``keep``: folder in which they are kept for another call; those of another picture size are made anew, and so are those of a
    recording that was changed. Raises BagError where there is no camera.
    """
    path = None if keep is None else keep / f"{bag_path.name}_{_identity(bag_path)}.npz"
    if path is not None and path.is_file():
        kept = _read(path)
        if kept.pixels.shape[1:] == tuple(spec.shape[1:]):
            return kept
    with Bag(bag_path) as bag:
        found = _decode(bag, spec)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        np.savez(file, **found._asdict())
        write_atomically(path, file.getvalue())
    return found


def _identity(bag_path: Path) -> str:
    """What tells a recording from others of its name, and from what was there before: its place, and its files."""
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in storage_files(bag_path)[0]]
    return hashlib.sha256(repr((str(bag_path.resolve()), files)).encode()).hexdigest()[:12]


def _decode(bag: Bag, spec: ModalitySpec) -> CameraPictures:
    camera, imu = _topic(bag, spec.kind), _topic(bag, _IMU)
    if camera is None:
        raise BagError(f"bag {bag.path}", "no topic of a camera", "one with images", "leave it out")
    messages = [raw for _, _, raw in bag.messages([camera.name])]
    batch = make_decoder(spec.kind, camera.msg_type, spec).decode(messages)
    turn_rad_s = np.full(len(batch.row_stamp_ns), np.nan, np.float32)
    if imu is not None:
        rows = make_decoder(_IMU, imu.msg_type).decode([raw for _, _, raw in bag.messages([imu.name])])
        turn_rad_s = _turns(rows.row_stamp_ns, rows.rows, batch.row_stamp_ns)
    return CameraPictures(batch.row_stamp_ns, np.rint(batch.rows * WHITE).astype(np.uint8), turn_rad_s)


def _turns(stamp_ns: np.ndarray, rows: np.ndarray, at_ns: np.ndarray) -> np.ndarray:
    """What `BodyMotion` would have said at each of the ascending times."""
    motion, begin = BodyMotion(sensor_kind(_IMU).turn_columns), 0
    turns = np.full(len(at_ns), np.nan, np.float32)
    for i, end_ns in enumerate(at_ns.tolist()):
        end = int(np.searchsorted(stamp_ns, end_ns, side="right"))
        motion.note(stamp_ns[begin:end], rows[begin:end])
        begin, turn = end, motion.turn_rad_s(end_ns)
        turns[i] = np.nan if turn is None else turn
    return turns


def _topic(bag: Bag, kind: str) -> Topic | None:
    types = sensor_kind(kind).msg_types
    return next((topic for topic in bag.topics.values() if topic.msg_type in types and topic.count), None)


def _read(path: Path) -> CameraPictures:
    try:
        with np.load(path, allow_pickle=False) as file:
            return CameraPictures(*(file[name] for name in CameraPictures._fields))
    except DAMAGED_NPZ as error:
        raise DataError(f"pictures {path}", reason_of(error), "a file of this version", "remove it, and run again") from error
