"""What a training run writes down as it goes: metrics.csv always, TensorBoard event files where it is installed."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

METRICS_FILE = "metrics.csv"
LOSSES = ("full", "pruned", "distill", "dense_distill", "gate", "gradient")
VALIDATION = ("accuracy_0.0", "accuracy_0.5", "accuracy_masks")  # all sensors at r = 0 and .5; mean over masks at r = 0
COLUMNS = ("epoch", "learning_rate", "seconds", *LOSSES, *VALIDATION)


class Metrics:
    """One line per epoch. A run that goes on from epoch k first drops what was written after k."""

    def __init__(self, folder: Path, epoch: int):
        self._path = folder / METRICS_FILE
        self._trim(epoch)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board = None
        else:
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=epoch + 1)

    @property
    def tensorboard(self) -> bool:
        """Whether event files are written."""
        return self._board is not None

    def _trim(self, epochs: int) -> None:
        """Drop lines of epochs that will be run again (killed between the line and the state)."""
        if not self._path.exists():
            return
        with self._path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))[:epochs]
        self._path.unlink()
        if lines:  # under today's columns: a run may go on after an update
            with self._path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(lines)

    def write(self, epoch: int, line: Mapping[str, float]) -> None:
        """Add an epoch's losses and, where it validated, accuracies."""
        fresh = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow({"epoch": epoch, **line})
        if self._board is not None:
            for name, value in line.items():
                group = "validation" if name in VALIDATION else "training"
                self._board.add_scalar(f"{group}/{name}", value, epoch)
            self._board.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._board is not None:
            self._board.close()
