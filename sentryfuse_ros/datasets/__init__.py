"""Labelled recordings to train and evaluate on. A set is a module, or a folder, with CLASSES, SPLIT, PROVENANCE, load."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import DataError
from .window_folder import WindowFolder

DATASETS = ("utd_mhad", "borealtc", "av_digits")


def dataset(name: str) -> Any:
    """A data set by its name, or a folder written by `sentryfuse dataset`: an object with CLASSES, SPLIT, PROVENANCE and
    load(specs, groups). Raises DataError on what is neither."""
    if name in DATASETS:
        return import_module(f".{name}", __name__)
    if Path(name).is_dir():
        return WindowFolder(name)
    raise DataError(
        "data set",
        name,
        "a folder written by sentryfuse dataset, or one of " + ", ".join(DATASETS),
        "correct the data set's name or path",
    )


def split_groups(recordings: Sequence, groups: Sequence[int]) -> list:
    """Recordings whose group is among ``groups``; raises DataError where a group has none."""
    absent = set(groups) - {r.group for r in recordings}
    if absent:
        raise DataError(
            "data set groups",
            sorted({r.group for r in recordings}),
            f"{sorted(groups)} among them",
            "correct the groups in the training YAML",
        )
    return [r for r in recordings if r.group in set(groups)]
