"""What a training run records as it goes: metrics.csv always, and TensorBoard event files where TensorBoard is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..files import write_atomically

METRICS_FILE = "metrics.csv"


class StepLosses(NamedTuple):
    """What one optimiser step reports; NaN where a term was not computed."""

    full: float  # cross-entropy of the full-width pass
    pruned: float  # cross-entropy of the pruned pass
    distill: float  # KL(pruned pass || full-width pass)
    gate: float  # how far the gate is from the saliency
    gradient: float  # norm of the gradient before clipping


LOSSES = StepLosses._fields
# Accuracies with all sensors live at ratio 0 and at ratio .5, and the mean over all masks at ratio 0.
VALIDATION = ("accuracy_0.0", "accuracy_0.5", "accuracy_masks")
COLUMNS = ("epoch", "learning_rate", "seconds", *LOSSES, *VALIDATION)


class Metrics:
    """Writes one line per epoch. A run that is resumed after epoch k first drops the lines of later epochs."""

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
        """Drop lines of epochs that will be run again, as after a stop between writing the line and writing the state."""
        if not self._path.exists():
            return
        with self._path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))[:epochs]
        if not lines:
            self._path.unlink()
            return
        kept = io.StringIO(newline="")
        # With the columns of this version, since a run may be resumed after an update.
        writer = csv.DictWriter(kept, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
        write_atomically(self._path, kept.getvalue())

    def write(self, epoch: int, line: Mapping[str, float]) -> None:
        """Add the losses of an epoch and, if it was validated, its accuracies."""
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
