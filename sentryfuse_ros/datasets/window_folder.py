"""The folder that `sentryfuse dataset` writes: one array per modality, one table of windows, one description.

dataset.json   format, command, classes, modalities (specs), recordings with split, conditions and what was skipped
windows.csv    bag, end_s, stamp_ns, split, label, live sensors as bits, whether the label held throughout the window, seconds
               since it changed; row i belongs to row i of the arrays
NAME.npy       (n, *shape) float32, not normalised; memory-mapped if the set is large
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..bags.run_description import SPLITS
from ..errors import DataError, ParameterError, reason_of
from ..masks import bits_to_mask
from ..preprocessing import ModalitySpec
from .description import FORMAT, FORMAT_VERSION, DatasetDescription
from .recording import Group
from .windows import WindowSet

DESCRIPTION, TABLE = "dataset.json", "windows.csv"
TABLE_COLUMNS = ("bag", "end_s", "stamp_ns", "split", "label", "live", "steady", "since_change_s")
NEEDED_COLUMNS = TABLE_COLUMNS[:6]  # folders of earlier versions hold windows with one label throughout
MEMORY_SHARE = 0.3  # of the free memory; larger sets stay on disk
_AGAIN = "make it again with sentryfuse dataset"


class WindowFolder:
    """A data set (`datasets.LabelledDataset`) in a folder. Raises DataError if the folder is damaged."""

    SPLIT: Mapping[str, Sequence[Group]] = {name: (name,) for name in SPLITS}

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.description = self._read_description()
        self.CLASSES = self.description.classes
        self.PROVENANCE = (
            f"{len(self.description.bags)} recordings, {self.description.windows} windows; {self.description.command}"
        )
        self.specs = self.description.specs
        self._arrays: dict[str, np.ndarray] = {}

    def identity(self) -> str:
        """What tells the set from others, and from what was in its place before: where it lies, and its files. For names of what
        is made of its windows and kept."""
        names = (DESCRIPTION, TABLE, *(f"{spec.name}.npy" for spec in self.specs))
        status = {name: path.stat() for name in names if (path := self.folder / name).exists()}
        files = [(name, found.st_size, found.st_mtime_ns) for name, found in status.items()]
        return hashlib.sha256(repr((str(self.folder.resolve()), files)).encode()).hexdigest()[:12]

    def parts(self) -> set[str]:
        """Names by which part of the set can be loaded beside its splits: the recordings, and what they are of."""
        return {bag.name for bag in self.description.bags} | {bag.origin for bag in self.description.bags if bag.origin}

    def load(self, specs: Sequence[ModalitySpec], groups: Sequence[Group] | None = None) -> WindowSet:
        """The windows of some splits (all if None).

        ``specs`` must describe the same windows as the folder's: shape, length, encoding and options. Raises DataError.
        """
        own = {spec.name: spec for spec in self.specs}
        for spec in specs:
            have = own.get(spec.name)
            if have is None or have.window_dict() != spec.window_dict():
                raise DataError(
                    f"modality {spec.name!r} of data set {self.folder}",
                    have and have.window_dict(),
                    spec.window_dict(),
                    "make the data set again with the recipe of these modalities",
                )
        windows = self._windows({spec.name for spec in specs})
        return windows if groups is None else windows.of_groups(groups)

    def stamps_ns(self) -> np.ndarray:
        """Stamp at the end of every window of the folder, int64 (n,): on the clock of the recordings, as `WindowSet.end_s` is
        not."""
        try:
            return np.array([int(row["stamp_ns"]) for row in self._read_table()], np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"data set table {self.folder / TABLE} stamp_ns", str(error), "whole numbers of nanoseconds", _AGAIN
            ) from error

    def _windows(self, names: set[str]) -> WindowSet:
        table = self._read_table()
        label_of = {name: i for i, name in enumerate(self.CLASSES)}
        bags = self.description.bags
        place_of = {bag.name: i for i, bag in enumerate(bags)}
        try:
            recording = np.array([place_of[row["bag"]] for row in table], np.int64)
            labels = np.array([label_of[row["label"]] for row in table], np.int64)
            end_s = np.array([float(row["end_s"]) for row in table])
            steady = np.array([row.get("steady", "1") == "1" for row in table], bool)
            since_change_s = np.array([float(row.get("since_change_s") or "nan") for row in table])
        except (KeyError, ValueError) as error:
            raise DataError(
                f"data set table {self.folder / TABLE}", str(error), "bags and classes of dataset.json", _AGAIN
            ) from error
        for row in table:
            if len(row["live"] or "") != len(self.specs) or set(row["live"]) - {"0", "1"}:
                raise DataError(
                    f"data set table {self.folder / TABLE} live",
                    repr(row["live"]),
                    f"a 0 or 1 for each of {', '.join(spec.name for spec in self.specs)}",
                    f"{_AGAIN}; a spreadsheet leaves out zeros at the beginning",
                )
        live = np.array([bits_to_mask(row["live"]) for row in table], bool).reshape(len(table), len(self.specs))
        conditions = sorted({name for bag in bags for name in bag.conditions})
        return WindowSet(
            inputs={name: self._array(name, len(table)) for name in names},
            labels=labels,
            groups=np.array([row["split"] for row in table]),
            recording=recording,
            recordings=tuple(bag.name for bag in bags),
            end_s=end_s,
            recording_origins=tuple(bag.origin for bag in bags),
            steady=steady,
            since_change_s=since_change_s,
            live={spec.name: live[:, i] for i, spec in enumerate(self.specs)},
            conditions={name: np.array([name in bags[i].conditions for i in recording], bool) for name in conditions},
        )

    def _array(self, name: str, count: int) -> np.ndarray:
        """All windows of a modality; they are read once for all splits."""
        if name not in self._arrays:
            self._arrays[name] = self._read_array(name, count)
        return self._arrays[name]

    def _read_array(self, name: str, count: int) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        shape = (count, *next(spec.shape for spec in self.specs if spec.name == name))
        # Windows drawn at random from a mapped file are read from the disk again and again, so the file is only mapped if
        # memory is short.
        mapped = sum(np.prod((count, *spec.shape)) for spec in self.specs) * 4.0 > MEMORY_SHARE * _free_memory_bytes()
        try:
            array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"data set file {path}", reason_of(error), "an array of windows", _AGAIN) from error
        if array.shape != shape:
            raise DataError(f"data set file {path}", array.shape, shape, _AGAIN)
        return array

    def _read_description(self) -> DatasetDescription:
        path = self.folder / DESCRIPTION
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"data set {path}", reason_of(error), "a folder written by sentryfuse dataset", _AGAIN) from error
        if not isinstance(values, dict) or values.get("format") != FORMAT or values.get("format_version") != FORMAT_VERSION:
            raise DataError(f"data set {path}", "another format", f"{FORMAT} version {FORMAT_VERSION}", _AGAIN)
        try:
            return DatasetDescription.from_dict(values)
        except (KeyError, TypeError, ValueError, ParameterError) as error:
            raise DataError(f"data set {path}", str(error), "the keys that sentryfuse dataset writes", _AGAIN) from error

    def _read_table(self) -> list[dict[str, str]]:
        path = self.folder / TABLE
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"data set table {path}", reason_of(error), "a readable CSV file", _AGAIN) from error
        if len(rows) != self.description.windows or (rows and set(NEEDED_COLUMNS) - set(rows[0])):
            raise DataError(
                f"data set table {path}",
                f"{len(rows)} rows",
                f"{self.description.windows} of {', '.join(NEEDED_COLUMNS)}",
                _AGAIN,
            )
        return rows


def _free_memory_bytes() -> float:
    """The memory that is free now; 0 if the system does not tell."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 0.0
