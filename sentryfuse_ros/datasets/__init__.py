"""Labelled recordings to train and evaluate on. A set is a module with CLASSES, SPLIT and load(specs)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from ..errors import DataError

DATASETS = ("utd_mhad",)


def dataset(name: str) -> ModuleType:
    """The module of a data set; raises DataError on a name there is no set for."""
    if name not in DATASETS:
        raise DataError("data set", name, "one of " + ", ".join(DATASETS), "correct the data set's name")
    return import_module(f".{name}", __name__)


def split_groups(recordings: Sequence, groups: Sequence[int]) -> list:
    """Recordings whose group is among ``groups``; raises DataError where a group has none."""
    absent = set(groups) - {r.group for r in recordings}
    if absent:
        raise DataError("data set groups", sorted({r.group for r in recordings}), f"{sorted(groups)} among them",
                        "correct the groups in the training YAML")
    return [r for r in recordings if r.group in set(groups)]
