"""A set of labelled windows that were extracted beforehand, each with the recording and the moment it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError
from .recording import Group

PARTS_SHOWN = 8  # persons, places and recordings that an error names


@dataclass(frozen=True)
class WindowSet:
    """n windows of M modalities.

    inputs: name -> (n, *spec.shape) as `preprocessing.model_input` makes them without mean and std (zero: no data); they may
    be memory-mapped. labels (n,) int64 class ids. groups (n,) str: what the set is split by (the name of a split, a subject, a
    fold). recording (n,) int: place in ``recordings``. end_s (n,) float64: end of the window in its recording. live: name -> (n,)
    bool, whether the sensor was live; a sensor that is not named always was. conditions: name -> (n,) bool, circumstances that
    evaluations report apart. place (n,): the rows of ``inputs`` that these windows are; None: all rows in order.
    steady (n,) bool: whether the label held throughout the window; None: in all. since_change_s (n,): from the last change of the
    label to the end of the window, NaN if there was none; None: not known.
    recording_origins: of each recording the person, place or day that it is of, "" or () if that is not known.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    groups: np.ndarray
    recording: np.ndarray
    recordings: tuple[str, ...]
    end_s: np.ndarray
    live: Mapping[str, np.ndarray] = field(default_factory=dict)
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)
    place: np.ndarray | None = None
    steady: np.ndarray | None = None
    since_change_s: np.ndarray | None = None
    recording_origins: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, name: str, index: np.ndarray) -> np.ndarray:
        """Windows ``index`` (k,) of one modality, (k, *spec.shape), not normalised."""
        return np.asarray(self.inputs[name][index if self.place is None else self.place[index]])

    def select(self, chosen: np.ndarray) -> WindowSet:
        """The windows at ``chosen`` (bool (n,) or int (k,)); inputs are not copied."""
        index = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.asarray(chosen)
        return WindowSet(
            self.inputs,
            self.labels[index],
            self.groups[index],
            self.recording[index],
            self.recordings,
            self.end_s[index],
            {n: flags[index] for n, flags in self.live.items()},
            {n: flags[index] for n, flags in self.conditions.items()},
            index if self.place is None else self.place[index],
            None if self.steady is None else self.steady[index],
            None if self.since_change_s is None else self.since_change_s[index],
            self.recording_origins,
        )

    def origins(self) -> set[str]:
        """The persons, places or days that these windows are of, as far as they are known."""
        places = np.unique(self.recording).tolist() if self.recording_origins else []
        return {self.recording_origins[i] for i in places} - {""}

    def steady_only(self) -> WindowSet:
        """The windows throughout which their label held."""
        return self if self.steady is None or self.steady.all() else self.select(self.steady)

    def of_groups(self, groups: Sequence[Group]) -> WindowSet:
        """The windows of some groups; persons, places and single recordings may be named too. Raises DataError for others."""
        names = {str(g) for g in groups}
        own = np.array(self.recordings)[self.recording]
        of = np.array(self.recording_origins or self.recordings)[self.recording]
        absent = names - set(self.groups.tolist()) - set(of.tolist()) - set(own.tolist())
        if absent:
            parts = sorted({*of.tolist(), *own.tolist()} - {""})
            few = ", ".join(parts[:PARTS_SHOWN]) + (f" and {len(parts) - PARTS_SHOWN} more" if parts[PARTS_SHOWN:] else "")
            raise DataError(
                "data set groups",
                sorted(set(self.groups.tolist())),
                f"{sorted(absent)} among them, or among what the set has recordings of: {few}",
                "choose groups that the set has, or build it with recordings for every split",
            )
        known = list(names)
        return self.select(np.isin(self.groups, known) | np.isin(of, known) | np.isin(own, known))
