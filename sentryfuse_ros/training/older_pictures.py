"""Windows whose pictures are older than the rest of them, to measure what a plan that holds its pictures is worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..datasets.windows import WindowSet
from ..preprocessing import ModalitySpec
from ..preprocessing.normalise import normalise
from .augment import augment_windows
from .examples import WindowExamples

HOLD_S = 0.5  # for which plans may hold a picture, and so how old the pictures are by which such plans are measured
_TOLERANCE_S = 0.02  # between the ends of two windows, which are written with milliseconds
ENOUGH = 0.5  # share of the windows that must have older pictures


class OlderPictures(WindowExamples):
    """Windows whose cameras and LiDARs show what they showed in an earlier window of the same recording.

    The earlier window ends at least ``age_s`` before, and at most twice as much. Pictures of a sensor that was not live then, and
    those at the start of a recording, stay as they are: so they are on a robot, whose first picture is new, too.
    """

    def __init__(self, examples: WindowExamples, names: Iterable[str], age_s: float = HOLD_S):
        """``names``: the inputs whose pictures are older."""
        super().__init__(examples.windows, examples.augment)
        earlier = _earlier(self.windows, age_s)
        own = np.arange(len(self))
        self._rows: dict[str, np.ndarray] = {}  # by input, the window whose pictures are taken
        for name in names:
            live = self.windows.live.get(name)
            there = earlier >= 0
            if live is not None:
                there &= live[earlier] | ~live
            self._rows[name] = np.where(there, earlier, own)
        self.share = float((earlier >= 0).mean()) if len(self) else 0.0
        """Share of the windows that have an earlier one."""

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        rows = {s.name: self._rows[s.name][index] if s.name in self._rows else index for s in specs}
        out = {s.name: normalise(s, self.windows.rows(s.name, rows[s.name])) for s in specs}
        return out if rng is None else augment_windows(out, specs, self.augment, rng)


def _earlier(windows: WindowSet, age_s: float) -> np.ndarray:
    """For each window the newest one of its recording that ends ``age_s`` before it or up to twice as much, -1 for none: (n,)."""
    found = np.full(len(windows), -1)
    for recording in np.unique(windows.recording):
        own = np.flatnonzero(windows.recording == recording)
        own = own[np.argsort(windows.end_s[own], kind="stable")]
        end_s = windows.end_s[own]
        place = np.searchsorted(end_s, end_s - age_s + _TOLERANCE_S, side="right") - 1
        near = (place >= 0) & (end_s - end_s[np.maximum(place, 0)] <= 2 * age_s + _TOLERANCE_S)
        found[own[near]] = own[place[near]]
    return found
