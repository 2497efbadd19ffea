"""What training and evaluation draw from, whichever way a data set is stored: whole recordings, or windows cut before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ..datasets.recording import Recording
from ..datasets.windows import WindowSet
from ..preprocessing import ModalitySpec
from ..preprocessing.normalise import measure, normalise
from .augment import Augment, augment_windows
from .windows import measure_recordings, random_window, stack, whole_window

CHUNK = 256  # windows looked at together where all are


class Examples(Protocol):
    """n labelled examples; ``conditions``: name -> bool (n,), circumstances to report apart."""

    labels: np.ndarray
    conditions: Mapping[str, np.ndarray]

    def __len__(self) -> int: ...

    def names(self, index: Sequence[int]) -> list[str]:
        """Where examples come from, for people."""
        ...

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        """Normalised inputs (k, *spec.shape) per spec of the examples ``index`` (k,); augmented if ``rng`` is given."""
        ...

    def measured(self, specs: Sequence[ModalitySpec]) -> tuple[ModalitySpec, ...]:
        """The specs with mean and std, over these examples, where they have none."""
        ...


class WindowExamples:
    """Examples of a `WindowSet`."""

    def __init__(self, windows: WindowSet, augment: Augment | None = None):
        self.windows, self.augment = windows, augment or Augment()
        self.labels, self.conditions = windows.labels, windows.conditions

    def __len__(self) -> int:
        return len(self.windows)

    def names(self, index: Sequence[int]) -> list[str]:
        w = self.windows
        return [f"{w.recordings[w.recording[i]]} at {w.end_s[i]:.2f} s" for i in index]

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        out = {s.name: normalise(s, self.windows.rows(s.name, index)) for s in specs}
        return out if rng is None else augment_windows(out, specs, self.augment, rng)

    def measured(self, specs: Sequence[ModalitySpec]) -> tuple[ModalitySpec, ...]:
        def chunks(name: str):
            for start in range(0, len(self), CHUNK):
                yield self.windows.rows(name, np.arange(start, min(start + CHUNK, len(self))))

        return tuple(measure(s, chunks(s.name)) for s in specs)


class RecordingExamples:
    """Examples of recordings of one label each: a random window of each while training, the whole one when judged."""

    def __init__(self, recordings: Sequence[Recording], augment: Augment | None = None):
        self.recordings, self.augment = list(recordings), augment or Augment()
        self.labels = np.array([r.label for r in self.recordings], np.int64)
        self.conditions: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.recordings)

    def names(self, index: Sequence[int]) -> list[str]:
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
    """Examples of what a data set's ``load`` gave."""
    return WindowExamples(loaded, augment) if isinstance(loaded, WindowSet) else RecordingExamples(loaded, augment)
