"""BorealTC: which ground a Husky A200 drives on, from IMU, wheel velocity and motor current; 68 runs, 78 minutes.

LaRocque et al., "Proprioception Is All You Need: Terrain Classification for Boreal Forests", IROS 2024, arXiv 2403.16877.
Read from ``borealtc/`` under the data root:

    runs.npz   RUN__imu (N, 7) time [s], gyro xyz [rad/s], accel xyz [m/s^2] at 100 Hz;
               RUN__pro (M, 5) time [s], wheel velocity left, right [m/s], motor current left, right [A] at 6.5 Hz
    index.csv  run, label, fold (0, 1, 2; by run, each class's duration spread evenly), among other columns

Four runs of the original set are not in these files. The authors evaluate on a random split of windows, so that windows of one
run are on both sides. Here a run is on one side only, which is harder; accuracies are not comparable with theirs.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError, reason_of
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec, model_input
from .recording import Group
from .repacked import read_arrays, set_file
from .windows import WindowSet

CLASSES = ("asphalt", "flooring", "ice", "sandy_loam", "snow")
FOLDS = (0, 1, 2)
# Part b of each fold is for validation: of every class, the run whose length is nearest to 45 s, if that is at most 40 % of the
# class in the fold. Any two folds together have every class in both parts.
HELD_OUT = (
    "FLOORING_02",
    "ICE_12",
    "SANDY_LOAM_08",
    "SNOW_18",
    "ASPHALT_04",
    "FLOORING_09",
    "ICE_02",
    "SANDY_LOAM_11",
    "SNOW_20",
    "ASPHALT_06",
    "ICE_03",
    "SANDY_LOAM_05",
    "SNOW_16",
)
PROVENANCE = (
    "BorealTC (LaRocque et al., IROS 2024, arXiv 2403.16877), github norlab-ulaval/BorealTC, CC0 1.0; "
    "68 of its runs, split by run"
)

WINDOW_S = 5.0  # windows end at 5 s, 6 s, ... of a run
STRIDE_S = 1.0
_ORIGIN = "the runs are at https://github.com/norlab-ulaval/BorealTC (data/borealtc)"


def cross_validation(test_fold: int) -> dict[str, tuple[str, ...]]:
    """The groups of a split whose test set is one fold: parts a and b of the other folds are for training and validation.

    Raises DataError if there is no such fold.
    """
    if test_fold not in FOLDS:
        raise DataError("borealtc test fold", test_fold, f"one of {FOLDS}", "choose one of these")
    others = [fold for fold in FOLDS if fold != test_fold]
    return {
        "train": tuple(f"{f}/a" for f in others),
        "val": tuple(f"{f}/b" for f in others),
        "test": (f"{test_fold}/a", f"{test_fold}/b"),
    }


SPLIT = cross_validation(2)  # the hardest fold is the test


PARTS = ("imu", "pro")


class Source(NamedTuple):
    """One sensor of the set: its part of a run, and which columns of it."""

    part: str
    columns: slice


IMU = Source("imu", slice(1, 7))
SOURCES = {
    "gyroscope": Source("imu", slice(1, 4)),
    "accelerometer": Source("imu", slice(4, 7)),
    "wheel_velocity": Source("pro", slice(1, 3)),
    "motor_current": Source("pro", slice(3, 5)),
}


def source_of(spec: ModalitySpec) -> Source:
    """The sensor that serves a spec: the IMU serves kind imu under any name; a series is found by its name.

    Raises DataError if the set has no such sensor, or the sensor has another number of columns.
    """
    source = IMU if spec.kind == "imu" else SOURCES.get(spec.name) if spec.kind == "series" else None
    if source is None:
        raise DataError(
            f"borealtc modality {spec.name!r}",
            f"kind {spec.kind}",
            f"imu, or a series named {', '.join(SOURCES)}",
            "train this modality on another data set",
        )
    columns = source.columns.stop - source.columns.start
    if spec.shape[1] != columns:
        raise DataError(f"borealtc modality {spec.name!r} columns", spec.shape[1], columns, "correct the modality's shape")
    return source


def load(specs: Sequence[ModalitySpec], groups: Sequence[Group] | None = None) -> WindowSet:
    """Windows of the runs in ``groups`` ("0/a" ... "2/b"; all if None), not normalised.

    A window ends every `STRIDE_S` from `WINDOW_S` on, whichever sensors are asked for. Raises DataError if a group does not
    exist, or the files are missing or not in the layout above.
    """
    sources = {spec.name: source_of(spec) for spec in specs}
    runs = [run for run in _index() if groups is None or run.group in {str(g) for g in groups}]
    missing = {str(g) for g in groups or ()} - {run.group for run in runs}
    if missing:
        raise DataError(
            "borealtc groups", sorted(missing), "those of 0/a, 0/b, 1/a, 1/b, 2/a, 2/b", "correct the groups in the training YAML"
        )
    tables = read_arrays("borealtc", "runs.npz", [f"{run.name}__{part}" for run in runs for part in PARTS], _ORIGIN)
    ends_s = [_ends_s([tables[f"{run.name}__{part}"] for part in PARTS]) for run in runs]
    counts = [len(e) for e in ends_s]
    inputs = {spec.name: np.empty((sum(counts), *spec.shape), np.float32) for spec in specs}
    row = 0
    for run, ends in zip(runs, ends_s):
        for spec in specs:
            source = sources[spec.name]
            table = tables[f"{run.name}__{source.part}"]
            # Rounded to 0.1 ms: the float32 times of the file are off by up to 15 us, which could move rows to other cells.
            stamp_ns = np.round(table[:, 0].astype(np.float64) * 1e4).astype(np.int64) * (NS_PER_S // 10_000)
            for i, end in enumerate(ends):
                inputs[spec.name][row + i] = model_input(spec, stamp_ns, table[:, source.columns], round(end * NS_PER_S))
        row += len(ends)
    return WindowSet(
        inputs,
        np.repeat([run.label for run in runs], counts).astype(np.int64),
        np.repeat([run.group for run in runs], counts),
        np.repeat(np.arange(len(runs)), counts),
        tuple(run.name for run in runs),
        np.concatenate(ends_s),
    )


class _Run(NamedTuple):
    name: str
    label: int
    group: str


def _index() -> list[_Run]:
    path = set_file("borealtc", "index.csv", _ORIGIN)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                _Run(
                    row["run"],
                    CLASSES.index(row["label"].lower()),
                    f"{int(row['fold'])}/{'b' if row['run'] in HELD_OUT else 'a'}",
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"borealtc file {path}", reason_of(error), "columns run, label, fold", "fetch the file again") from error


def _ends_s(tables: Sequence[np.ndarray]) -> np.ndarray:
    """The ends of the windows of a run [s], up to the end of its shortest part."""
    last_s = min(float(table[-1, 0]) for table in tables)
    return WINDOW_S + STRIDE_S * np.arange(max(0, int((last_s - WINDOW_S) // STRIDE_S) + 1))
