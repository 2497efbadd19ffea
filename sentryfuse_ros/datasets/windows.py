"""A set of labelled windows that were cut beforehand, each with the recording and the moment it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError


@dataclass(frozen=True)
class WindowSet:
    """n windows of M modalities.

    inputs: name -> (n, *spec.shape) as `modalities.inputs.model_input` cuts them without mean and std (zero: no data);
    may be memory-mapped. labels (n,) int64 class ids. groups (n,) str: what splits are made by (a split's name, a
    subject, a fold). recording (n,) int: place in ``recordings``. end_s (n,) float64: the window's end in the recording.
    present name -> (n,) bool: whether the sensor was live. conditions name -> (n,) bool: circumstances to report apart.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    groups: np.ndarray
    recording: np.ndarray
    recordings: tuple[str, ...]
    end_s: np.ndarray
    present: Mapping[str, np.ndarray] = field(default_factory=dict)
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)
    place: np.ndarray | None = None  # (n,) rows of ``inputs`` that these windows are; None: all in order

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
            {n: p[index] for n, p in self.present.items()},
            {n: c[index] for n, c in self.conditions.items()},
            index if self.place is None else self.place[index],
        )

    def of_groups(self, groups: Sequence) -> WindowSet:
        """The windows of some groups; raises DataError where a group has none."""
        names = [str(g) for g in groups]
        absent = set(names) - set(self.groups.tolist())
        if absent:
            raise DataError(
                "data set groups",
                sorted(set(self.groups.tolist())),
                f"{sorted(absent)} among them",
                "choose groups that it has, or make it with recordings for every split",
            )
        return self.select(np.isin(self.groups, names))
