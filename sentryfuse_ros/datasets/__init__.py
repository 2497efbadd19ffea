"""Labelled recordings to train and evaluate on: the public sets, and folders that `sentryfuse dataset` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ..errors import DataError
from ..preprocessing import ModalitySpec
from . import av_digits, borealtc, utd_mhad
from .recording import Group, Recording
from .window_folder import WindowFolder
from .windows import WindowSet


class LabelledDataset(Protocol):
    """A data set; a module of this package or a `WindowFolder` is one.

    CLASSES: names of the classes; labels are places in it. SPLIT: name of a split ("train", "test", perhaps "val") -> its groups.
    PROVENANCE: where the data come from.
    """

    @property
    def CLASSES(self) -> tuple[str, ...]: ...

    @property
    def SPLIT(self) -> Mapping[str, Sequence[Group]]: ...

    @property
    def PROVENANCE(self) -> str: ...

    def load(self, specs: Sequence[ModalitySpec], groups: Sequence[Group] | None = None) -> Sequence[Recording] | WindowSet:
        """The examples of some groups (all if None), with every modality of ``specs``. Raises DataError."""
        ...


DATASETS: Mapping[str, LabelledDataset] = {"utd_mhad": utd_mhad, "borealtc": borealtc, "av_digits": av_digits}


def dataset(name: str) -> LabelledDataset:
    """A public data set by its name, or a folder written by `sentryfuse dataset`. Raises DataError if it is neither."""
    if name in DATASETS:
        return DATASETS[name]
    if Path(name).is_dir():
        return WindowFolder(name)
    raise DataError(
        "data set",
        name,
        "a folder written by sentryfuse dataset, or one of " + ", ".join(DATASETS),
        "correct the data set's name or path",
    )


def split_groups(recordings: Sequence[Recording], groups: Sequence[Group]) -> list[Recording]:
    """The recordings of some groups. Raises DataError if a group has none."""
    absent = set(groups) - {r.group for r in recordings}
    if absent:
        raise DataError(
            "data set groups",
            sorted({r.group for r in recordings}),
            f"{sorted(groups, key=str)} among them",
            "correct the groups",
        )
    return [r for r in recordings if r.group in set(groups)]
