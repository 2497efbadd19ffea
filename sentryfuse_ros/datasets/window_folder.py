"""The folder that `sentryfuse dataset` writes: one array per modality, one table of windows, one description.

dataset.json   format, command, classes, modalities (specs), bags with split, conditions and what was skipped
windows.csv    bag, end_s, stamp_ns, split, label, live sensors as bits; row i belongs to row i of the arrays
NAME.npy       (n, *shape) float32, not normalised; memory-mapped where the set is large
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..preprocessing import ModalitySpec
from .windows import WindowSet

FORMAT, FORMAT_VERSION = "sentryfuse windows", 1
DESCRIPTION, TABLE = "dataset.json", "windows.csv"
TABLE_COLUMNS = ("bag", "end_s", "stamp_ns", "split", "label", "live")
SPLITS = ("train", "val", "test")
MEMORY_SHARE = 0.3  # of the free memory; larger sets stay on disk
_AGAIN = "make it again with sentryfuse dataset"


class WindowFolder:
    """A data set as `datasets.dataset` gives it: CLASSES, SPLIT, PROVENANCE, load. Raises DataError on a damaged folder."""

    SPLIT = {name: (name,) for name in SPLITS}

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.about = self._read_description()
        self.CLASSES = tuple(self.about["classes"])
        self.PROVENANCE = f"{len(self.about['bags'])} recordings, {self.about['windows']} windows; " + self.about["command"]
        self.specs = tuple(ModalitySpec.from_dict(m) for m in self.about["modalities"])
        self._arrays: dict[str, np.ndarray] = {}

    def load(self, specs: Sequence[ModalitySpec], groups: Sequence[str] | None = None) -> WindowSet:
        """Windows of the splits ``groups`` (all if None). ``specs`` must be cut as the folder's are: same shape, window,
        encoding and options."""
        mine = {spec.name: spec for spec in self.specs}
        for spec in specs:
            have = mine.get(spec.name)
            if have is None or _cutting(have) != _cutting(spec):
                raise DataError(
                    f"modality {spec.name!r} of data set {self.folder}",
                    have and _cutting(have),
                    _cutting(spec),
                    "make the data set again with this training YAML",
                )
        windows = self._windows({spec.name for spec in specs})
        return windows if groups is None else windows.of_groups(groups)

    def _windows(self, names: set[str]) -> WindowSet:
        table = self._read_table()
        label_of = {name: i for i, name in enumerate(self.CLASSES)}
        bags = self.about["bags"]
        place = {bag["name"]: i for i, bag in enumerate(bags)}
        try:
            recording = np.array([place[row["bag"]] for row in table], np.int64)
            labels = np.array([label_of[row["label"]] for row in table], np.int64)
            end_s = np.array([float(row["end_s"]) for row in table])
        except (KeyError, ValueError) as error:
            raise DataError(
                f"data set table {self.folder / TABLE}", str(error), "bags and classes of dataset.json", _AGAIN
            ) from error
        live = np.array([[bit == "1" for bit in row["live"]] for row in table], bool).reshape(len(table), -1)
        known = sorted({c for bag in bags for c in bag["conditions"]})
        conditions = {c: np.array([c in bags[i]["conditions"] for i in recording], bool) for c in known}
        return WindowSet(
            {name: self._array(name, len(table)) for name in names},
            labels,
            np.array([row["split"] for row in table]),
            recording,
            tuple(bag["name"] for bag in bags),
            end_s,
            {s.name: live[:, i] for i, s in enumerate(self.specs)},
            conditions,
        )

    def _array(self, name: str, count: int) -> np.ndarray:
        """All windows of a modality, read once for all splits."""
        if name not in self._arrays:
            self._arrays[name] = self._read_array(name, count)
        return self._arrays[name]

    def _read_array(self, name: str, count: int) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        shape = (count, *next(spec.shape for spec in self.specs if spec.name == name))
        # Drawn at random, a mapped file is read in small pieces again and again; in memory where there is ample room.
        mapped = sum(np.prod((count, *spec.shape)) for spec in self.specs) * 4.0 > MEMORY_SHARE * _free_memory_bytes()
        try:
            array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"data set file {path}", str(error), "an array of windows", _AGAIN) from error
        if array.shape != shape:
            raise DataError(f"data set file {path}", array.shape, shape, _AGAIN)
        return array

    def _read_description(self) -> dict[str, Any]:
        path = self.folder / DESCRIPTION
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(f"data set {path}", str(error), "a folder written by sentryfuse dataset", _AGAIN) from error
        if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("format_version") != FORMAT_VERSION:
            raise DataError(f"data set {path}", "another format", f"{FORMAT} version {FORMAT_VERSION}", _AGAIN)
        return about

    def _read_table(self) -> list[dict[str, str]]:
        path = self.folder / TABLE
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"data set table {path}", str(error), "a readable CSV file", _AGAIN) from error
        if len(rows) != self.about["windows"] or (rows and set(TABLE_COLUMNS) - set(rows[0])):
            raise DataError(
                f"data set table {path}", f"{len(rows)} rows", f"{self.about['windows']} of {', '.join(TABLE_COLUMNS)}", _AGAIN
            )
        return rows


def _cutting(spec: ModalitySpec) -> dict[str, Any]:
    """What of a spec decides the windows; mean and std are applied later."""
    return {k: v for k, v in spec.to_dict().items() if k not in ("mean", "std")}


def _free_memory_bytes() -> float:
    """Memory that is free now; 0 where the system does not say."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 0.0
