"""The camera's part of windows as places in one table of pictures, with the older pictures from which a stream has its codes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ..datasets.camera_pictures import CameraPictures
from ..errors import DataError
from ..nanoseconds import NS_PER_S
from ..preprocessing.frame_slots import slot_rows
from ..preprocessing.spec import ModalitySpec


class CameraWindows:
    """The pictures of all recordings one after another; a picture is known by its place, -1 is an empty slot.

    pixels (n, C, H, W) uint8; first (n,): the place of the first picture of its recording.
    """

    def __init__(self, spec: ModalitySpec, recordings: Mapping[str, CameraPictures]):
        self.spec, self._recordings = spec, dict(recordings)
        lengths = [len(r.stamp_ns) for r in recordings.values()]
        self._starts = dict(zip(recordings, np.cumsum([0, *lengths]).tolist()))
        self.pixels = np.concatenate([r.pixels for r in recordings.values()])
        self.first = np.repeat(np.array(list(self._starts.values())), lengths)

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def digest(self) -> str:
        """What identifies the pictures."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels).data).hexdigest()

    def ending(self, name: str, end_ns: int) -> np.ndarray:
        """Places of the pictures in the slots of the window of a recording that ends at a time (K,)."""
        rows = np.array(slot_rows(self._recordings[name].stamp_ns, end_ns, self.spec))
        return np.where(rows >= 0, rows + self._starts[name], -1)

    def drawn(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Places of the pictures in windows that end anywhere (count, K); the older slots of some are empty."""
        newest = rng.integers(len(self), size=count)
        slots = self.spec.shape[0]
        apart = round(self.spec.window_s / slots * self._rate_hz)
        places = newest[:, None] - apart * np.arange(slots - 1, -1, -1)
        return np.where(places >= self.first[newest][:, None], places, -1)

    def older(self, places: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Places so many pictures earlier, not before the first picture of a recording."""
        return np.maximum(places - by, self.first[places])

    @property
    def _rate_hz(self) -> float:
        several = [r.stamp_ns for r in self._recordings.values() if len(r.stamp_ns) > 1]
        if not several:
            raise DataError("pictures of the recordings", "at most one in each", "several", "give longer recordings")
        return float(NS_PER_S / np.median(np.diff(several[0])))


def recording_folders(names: Sequence[str], folders: Sequence[Path]) -> dict[str, Path]:
    """Where recordings lie. Raises DataError for one that is nowhere."""
    found = {}
    for name in names:
        path = next((folder / name for folder in folders if (folder / name).exists()), None)
        if path is None:
            raise DataError(
                f"recording {name}",
                f"nothing of this name in {', '.join(map(str, folders))}",
                "the recordings that the data set was made from",
                "give their folder",
            )
        found[name] = path
    return found
