"""What training and evaluation draw examples from: whole recordings, or windows that were extracted beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from ..datasets import LabelledDataset, split_groups
from ..datasets.recording import Recording
from ..datasets.windows import WindowSet
from ..preprocessing import ModalitySpec
from ..preprocessing.normalise import measure, normalise
from .augment import Augment, augment_windows
from .recipe import Recipe
from .windows import measure_recordings, random_window, stack, whole_window

CHUNK = 256  # windows that are read together when all are measured


class Examples(Protocol):
    """n labelled examples."""

    @property
    def labels(self) -> np.ndarray:
        """(n,) class ids."""
        ...

    @property
    def steady(self) -> np.ndarray:
        """(n,) bool: whether the label holds throughout the example."""
        ...

    @property
    def conditions(self) -> Mapping[str, np.ndarray]:
        """name -> bool (n,): circumstances to report apart."""
        ...

    def __len__(self) -> int: ...

    def names(self, index: Iterable[int]) -> list[str]:
        """Where these examples come from, for messages."""
        ...

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        """Normalised inputs {name: (k, *spec.shape)} of the examples ``index`` (k,); augmented if ``rng`` is given."""
        ...

    def measured(self, specs: Sequence[ModalitySpec]) -> tuple[ModalitySpec, ...]:
        """The specs, with mean and std over these examples filled in where a spec has none."""
        ...


class WindowExamples:
    """Examples of a `WindowSet`."""

    def __init__(self, windows: WindowSet, augment: Augment | None = None):
        self.windows, self.augment = windows, augment or Augment()
        self.labels, self.conditions = windows.labels, windows.conditions
        self.steady = np.ones(len(windows), bool) if windows.steady is None else windows.steady

    def __len__(self) -> int:
        return len(self.windows)

    def names(self, index: Iterable[int]) -> list[str]:
        w = self.windows
        return [f"{w.recordings[w.recording[i]]} at {w.end_s[i]:.2f} s" for i in index]

    def recordings(self) -> list[str]:
        """Names of the recordings that have a window among these examples."""
        return [self.windows.recordings[i] for i in np.unique(self.windows.recording)]

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        out = {s.name: normalise(s, self.windows.rows(s.name, index)) for s in specs}
        return out if rng is None else augment_windows(out, specs, self.augment, rng)

    def measured(self, specs: Sequence[ModalitySpec]) -> tuple[ModalitySpec, ...]:
        def chunks(name: str) -> Iterator[np.ndarray]:
            for start in range(0, len(self), CHUNK):
                yield self.windows.rows(name, np.arange(start, min(start + CHUNK, len(self))))

        return tuple(measure(s, chunks(s.name)) for s in specs)


class RecordingExamples:
    """Examples of recordings with one label each: a random window of each in training, its whole window in evaluation."""

    def __init__(self, recordings: Sequence[Recording], augment: Augment | None = None):
        self.recordings, self.augment = list(recordings), augment or Augment()
        self.labels = np.array([r.label for r in self.recordings], np.int64)
        self.steady = np.ones(len(self.recordings), bool)
        self.conditions: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.recordings)

    def names(self, index: Iterable[int]) -> list[str]:
        return [self.recordings[i].name for i in index]

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        chosen = [self.recordings[i] for i in index]
        if rng is None:
            return stack([whole_window(r, specs) for r in chosen])
        return stack([random_window(r, specs, self.augment, rng) for r in chosen])

    def measured(self, specs: Sequence[ModalitySpec]) -> tuple[ModalitySpec, ...]:
        return measure_recordings(specs, self.recordings)


def examples_of(loaded: Sequence[Recording] | WindowSet, augment: Augment | None = None) -> Examples:
    """The examples of what the ``load`` of a data set returned."""
    return WindowExamples(loaded, augment) if isinstance(loaded, WindowSet) else RecordingExamples(loaded, augment)


def load_examples(source: LabelledDataset, recipe: Recipe, groups: Sequence) -> Examples:
    """The examples of some groups of a data set; raises DataError where a group has none.

    Windows in which the label changes are among them only if the recipe wants them.
    """
    loaded = source.load(recipe.specs, groups)
    if isinstance(loaded, WindowSet) and not recipe.border_windows:
        loaded = loaded.steady_only()
    return examples_of(loaded if isinstance(loaded, WindowSet) else split_groups(loaded, groups), recipe.augment)
