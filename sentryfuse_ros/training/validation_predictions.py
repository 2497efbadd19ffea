"""The logits of a trained network on its validation groups, from which accuracies and temperatures come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.damaged_npz import DAMAGED_NPZ
from ..errors import DataError, reason_of
from ..files import replacing
from ..masks import all_masks
from ..model.config import FuseConfig
from ..model.fuse import SentryFuse
from ..model.subnetwork import ABSENT, all_codes, of_code
from .calibration import fit_temperatures
from .examples import Examples, WindowExamples
from .logits import accuracy, predict_logits, predict_subnetworks
from .older_pictures import ENOUGH, OlderPictures

PREDICTIONS_FILE = "validation_predictions.npz"
SUBNETWORKS_FILE = "validation_subnetworks.npz"
_REMEDY = "correct --calibrate-from"


@dataclass(frozen=True)
class ValidationPredictions:
    """Predictions of n examples by many parts of a network: by every set of sensors at every ratio level, or by every
    subnetwork that a plan chosen by time may run."""

    labels: np.ndarray  # (n,)
    # Mask bits -> (ratio levels, n, classes), or `Subnetwork.code` -> (fusion sizes, n, classes).
    logits: Mapping[str, np.ndarray]
    live: np.ndarray | None = None  # (n, M) bool: which sensors were live; None where all were in all examples
    recording: np.ndarray | None = None  # (n,) int: examples with the same number are of one recording; None: each its own

    @classmethod
    def predict(cls, model: SentryFuse, examples: Examples) -> ValidationPredictions:
        """Run a network on all examples, with every set of sensors at every ratio level."""
        logits = predict_logits(model, examples, all_masks(len(model.config.names)), model.config.ratio_levels)
        return cls._of(model.config, examples, {mask: np.stack(rows) for mask, rows in logits.items()})

    @classmethod
    def predict_subnetworks(cls, model: SentryFuse, examples: Examples) -> ValidationPredictions:
        """Run a network on all examples, as every subnetwork that a plan chosen by time may run."""
        return cls._of_codes(model, examples, list(all_codes(model.config)))

    @classmethod
    def predict_held(cls, model: SentryFuse, examples: Examples) -> ValidationPredictions | None:
        """Run a network with pictures that are `HOLD_S` old, as every subnetwork with a camera or LiDAR whose tokens are kept.

        None where there is no such sensor, or too few windows have an earlier one in their recording.
        """
        names = model.config.names
        places = [i for i, name in enumerate(names) if model.config.tokenizer[name].keeps_tokens]
        if not places or not isinstance(examples, WindowExamples):
            return None
        older = OlderPictures(examples, [names[i] for i in places])
        if older.share < ENOUGH:
            return None
        return cls._of_codes(model, older, [code for code in all_codes(model.config) if any(code[i] != ABSENT for i in places)])

    @classmethod
    def _of_codes(cls, model: SentryFuse, examples: Examples, codes: Sequence[str]) -> ValidationPredictions:
        parts = {code: [of_code(code, size) for size in model.config.fusion_sizes] for code in codes}
        found = predict_subnetworks(model, examples, [part for row in parts.values() for part in row])
        return cls._of(model.config, examples, {code: np.stack([found[part] for part in row]) for code, row in parts.items()})

    @classmethod
    def _of(cls, config: FuseConfig, examples: Examples, logits: Mapping[str, np.ndarray]) -> ValidationPredictions:
        live = recording = None
        if isinstance(examples, WindowExamples):
            recording = np.asarray(examples.windows.recording, np.int64)
            if examples.windows.live:
                live = np.stack([examples.windows.live[n] for n in config.names], 1)
        return cls(examples.labels, logits, live, recording)

    def save(self, folder: Path, name: str = PREDICTIONS_FILE) -> None:
        """Write the predictions into the folder of a run."""
        optional = {"live": self.live, "recording": self.recording}
        known = {name: values for name, values in optional.items() if values is not None}
        arrays: dict[str, np.ndarray] = {"labels": self.labels, **self.logits, **known}
        with replacing(folder / name) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its options

    @classmethod
    def read(cls, folder: Path, name: str = PREDICTIONS_FILE) -> ValidationPredictions:
        """Inverse of `save`; raises DataError where the folder holds no predictions."""
        try:
            with np.load(folder / name, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file}
            labels = arrays.pop("labels")
        except DAMAGED_NPZ as error:
            expected = "a run trained with validation_groups"
            raise DataError(f"validation predictions {folder / name}", reason_of(error), expected, _REMEDY) from error
        return cls(labels, arrays, arrays.pop("live", None), arrays.pop("recording", None))

    @classmethod
    def pool(cls, folders: Sequence[Path], name: str = PREDICTIONS_FILE) -> ValidationPredictions:
        """The predictions of several runs together, as of the folds of a cross-validation; raises DataError on a misfit."""
        parts = [cls.read(folder, name) for folder in folders]
        if len({part._shape for part in parts}) != 1:
            seen, expected = "runs of different masks, ratio levels or classes", "runs of one recipe"
            raise DataError("validation predictions", seen, expected, _REMEDY)
        live = [part.live for part in parts if part.live is not None]
        # The same number in two runs means two recordings, unless the runs shared validation groups, which folds do not.
        counts = [1 + int(part.recordings.max(initial=-1)) for part in parts]
        recording = [part.recordings + sum(counts[:i]) for i, part in enumerate(parts)]
        return cls(
            np.concatenate([part.labels for part in parts]),
            {mask: np.concatenate([part.logits[mask] for part in parts], axis=1) for mask in parts[0].logits},
            np.concatenate(live) if live else None,
            np.concatenate(recording),
        )

    @property
    def _shape(self) -> tuple:
        """What must be the same in predictions that are pooled: masks, ratio levels and classes."""
        return (*((m, z.shape[0], z.shape[-1]) for m, z in sorted(self.logits.items())), self.live is None)

    def seen(self, mask: str) -> np.ndarray:
        """Indices of the examples that have all sensors of a mask; on the others the node would use another mask."""
        if self.live is None:
            return np.arange(len(self.labels))
        return np.flatnonzero(self.live[:, [mark != ABSENT for mark in mask]].all(1))

    def accuracies(self) -> dict[str, list[float | None]]:
        """{mask bits: accuracy per ratio level}; None where no example has the sensors of the mask."""
        out: dict[str, list[float | None]] = {}
        for mask, levels in self.logits.items():
            seen = self.seen(mask)
            out[mask] = [round(accuracy(z[seen], self.labels[seen]), 4) if len(seen) else None for z in levels]
        return out

    @property
    def recordings(self) -> np.ndarray:
        """The recording that each example is of, (n,) int."""
        return np.arange(len(self.labels)) if self.recording is None else self.recording

    def standard_errors(self) -> dict[str, list[float | None]]:
        """{mask bits: standard error of the accuracy per ratio level}; None where there are not two recordings to tell it from.

        Windows of one recording are alike, so recordings are what is independent: the error is that of a ratio estimated from
        a sample of clusters (Cochran 1977, Sampling Techniques, section 9A.3).
        """
        out: dict[str, list[float | None]] = {}
        for mask, levels in self.logits.items():
            seen = self.seen(mask)
            _, cluster = np.unique(self.recordings[seen], return_inverse=True)
            out[mask] = [_clustered_error(z[seen].argmax(1) == self.labels[seen], cluster) for z in levels]
        return out

    def temperatures(self) -> dict[str, list[float]]:
        """{mask bits: temperature per ratio level}; 1 where no example has the sensors of the mask."""
        out: dict[str, list[float]] = {}
        for mask, levels in self.logits.items():
            seen = self.seen(mask)
            rows = [z[seen] for z in levels]
            out |= fit_temperatures({mask: rows}, self.labels[seen]) if len(seen) else {mask: [1.0] * len(rows)}
        return out


def _clustered_error(correct: np.ndarray, cluster: np.ndarray) -> float | None:
    """Standard error of the mean of ``correct`` (n,) bool, whose entries are in clusters numbered from 0 (n,)."""
    clusters = 1 + int(cluster.max(initial=-1))
    if clusters < 2:
        return None
    surplus = np.bincount(cluster, correct - correct.mean(), minlength=clusters)
    return round(float(np.sqrt((surplus**2).sum() * clusters / (clusters - 1)) / len(correct)), 5)
