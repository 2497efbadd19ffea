"""What every lie does to the model, and what its table is given to judge: the slow part, once per model and set of drives."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.datasets.window_folder import WindowFolder
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.preprocessing.normalise import normalise
from sentryfuse_ros.sensing.quantities import quantities
from sentryfuse_ros.settings import build_settings
from sentryfuse_ros.training.logits import predict_subnetworks

from .lie import Lie
from .lying_windows import lying_windows, read_messages

TOPICS = {"camera": "/camera/image_raw", "imu": "/imu/data", "audio": "/audio", "lidar": "/lidar/points"}
CLEAN = "clean"


@dataclass(frozen=True)
class Windows:
    """The windows of some drives in a data set: their rows there, labels (n,), and the drive and end [ns] of each."""

    folder: WindowFolder
    index: np.ndarray
    labels: np.ndarray
    drives: Sequence[str]
    end_ns: np.ndarray

    def clean(self, name: str) -> np.ndarray:
        """Inputs (n, *shape) of a sensor that does not lie."""
        return np.asarray(self.folder.load(self.folder.specs).inputs[name][self.index])


def windows_of(folder: str, drives: int = 10**9, stride: int = 1, steady: bool = True) -> Windows:
    """Every ``stride``-th window of ``drives`` drives of the test split in which all sensors were live; with ``steady``, only of
    those in which the ground does not change."""
    source = dataset(folder)
    if not isinstance(source, WindowFolder):
        raise DataError(f"data set {folder}", type(source).__name__, "a folder written by sentryfuse dataset", "give one")
    with (Path(folder) / "windows.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    usable = [
        i
        for i, row in enumerate(table)
        if row["split"] == "test" and "0" not in row["live"] and (not steady or row.get("steady", "1") == "1")
    ]
    names = sorted({table[i]["bag"] for i in usable})
    names = names[:: max(1, len(names) // drives)][:drives]
    chosen = [i for name in names for i in [k for k in usable if table[k]["bag"] == name][::stride]]
    classes = list(source.CLASSES)
    return Windows(
        source,
        np.array(chosen),
        np.array([classes.index(table[i]["label"]) for i in chosen]),
        [table[i]["bag"] for i in chosen],
        np.array([int(table[i]["stamp_ns"]) for i in chosen]),
    )


class Inputs:
    """Windows as `training.logits` takes them: name -> (n, *shape) without mean and std."""

    def __init__(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray):
        self._inputs, self.labels = inputs, labels
        self.conditions: dict[str, np.ndarray] = {}
        self.steady = np.ones(len(labels), bool)

    def __len__(self) -> int:
        return len(self.labels)

    def names(self, index: Iterable[int]) -> list[str]:
        return [str(i) for i in index]

    def measured(self, specs: Sequence[ModalitySpec]) -> tuple[ModalitySpec, ...]:
        return tuple(specs)

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        return {s.name: normalise(s, np.asarray(self._inputs[s.name][index], np.float32)) for s in specs}


def predicted(network: SentryFuse, inputs: Mapping[str, np.ndarray], labels: np.ndarray, live: Sequence[bool]) -> np.ndarray:
    """Class ids (n,) of the whole network."""
    part = whole_stems(network.config, tuple(live), 0.0)
    return np.asarray(predict_subnetworks(network, Inputs(inputs, labels), [part])[part].argmax(axis=1))


def measured(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Quantities (n, q) of windows (n, *shape) without mean and std; NaN where there is too little to judge."""
    raw = replace(spec, mean=(), std=())
    found = [quantities(raw, one) for one in x]
    count = max((len(q) for q in found if q is not None), default=0)
    return np.array([list(q.values()) if q is not None else [np.nan] * count for q in found], np.float64).reshape(len(x), count)


def collect(
    network: SentryFuse, windows: Windows, worlds: Path, lies: Sequence[Lie], sensor: str
) -> dict[str, dict[str, np.ndarray]]:
    """For the clean sensor and each of its lies: quantities (n, q), seen (n,) by decoder and liveness, and predicted (n,) if the
    sensor is believed; of the clean one also predicted without it."""
    specs = network.config.modalities
    spec = next(s for s in specs if s.name == sensor)
    raw_spec = replace(spec, mean=(), std=())
    settings = next(s for s in build_settings({}).sensors if s.name == sensor)
    inputs = {s.name: windows.clean(s.name) for s in specs}
    everything = [True] * len(specs)
    without = predicted(network, inputs, windows.labels, [s.name != sensor for s in specs])
    found = {
        CLEAN: {
            "quantities": measured(spec, inputs[sensor]),
            "seen": np.zeros(len(windows.index), bool),
            "predicted": predicted(network, inputs, windows.labels, everything),
            "without": without,
        }
    }
    drives = np.array(windows.drives)
    messages = {name: read_messages(worlds / name, TOPICS[sensor]) for name in dict.fromkeys(windows.drives)}
    for number, lie in enumerate(lies):
        x, seen = np.zeros_like(inputs[sensor]), np.ones(len(windows.index), bool)
        for name, sent in messages.items():
            own = drives == name
            told = lying_windows(sent, lie, number, settings, raw_spec, windows.end_ns[own])
            x[own], seen[own] = told.inputs, told.seen
        believed = without.copy()
        if not seen.all():
            believed[~seen] = predicted(
                network, {n: (x if n == sensor else v)[~seen] for n, v in inputs.items()}, windows.labels[~seen], everything
            )
        found[lie.name] = {"quantities": measured(spec, x), "seen": seen, "predicted": believed}
    return found
