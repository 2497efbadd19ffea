"""Arrays in the repacked ``.npz`` files of the public data sets, with errors that name the set and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, reason_of
from ..paths import data_path
from .damaged_npz import DAMAGED_NPZ


def set_file(folder: str, name: str, origin: str) -> Path:
    """``data/FOLDER/NAME`` below the data root. Raises DataError with ``origin`` (where to get the file) if it is missing."""
    try:
        return data_path("data", folder, name)
    except DataError as error:
        raise DataError(
            error.thing,
            error.seen,
            error.expected,
            f"{error.remedy}; {origin}, in the layout that datasets/{folder}.py describes",
        ) from error


def read_arrays(folder: str, name: str, keys: Sequence[str], origin: str) -> dict[str, np.ndarray]:
    """The arrays ``keys`` of ``data/FOLDER/NAME``; raises DataError if the file is missing, damaged or lacks one."""
    path = set_file(folder, name, origin)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in keys}
    except DAMAGED_NPZ as error:
        raise DataError(
            f"{folder} file {path}", reason_of(error), "arrays " + ", ".join(keys[:4]), "fetch the file again"
        ) from error


def read_ragged(folder: str, name: str, origin: str) -> dict[str, np.ndarray]:
    """n recordings one after another: data (rows, ...), offset (n + 1,), ids (n, k).

    Recording i is data[offset[i]:offset[i + 1]]. Raises DataError as `read_arrays` does, and if the arrays do not match.
    """
    table = read_arrays(folder, name, ("data", "offset", "ids"), origin)
    offset = table["offset"]
    if len(offset) != len(table["ids"]) + 1 or offset[-1] != len(table["data"]) or (np.diff(offset) < 1).any():
        raise DataError(
            f"{folder} file {set_file(folder, name, origin)}",
            "offsets that do not match the rows",
            "rising to len(data), one more than ids",
            "fetch the file again",
        )
    return table
