"""Examples to train and measure a caption head on: windows of simulated drives, as tokens of a frozen model, and their truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..bags.drive_truth import TRUTH_FILE
from ..datasets.window_folder import WindowFolder
from ..errors import DataError
from .facts import Facts, Truth
from .scenes import Scenes
from .window_tokens import FrozenModel, WindowTokens


@dataclass(frozen=True)
class CaptionExamples:
    """n windows and what is true at the end of each, without sensors."""

    windows: WindowTokens
    truths: tuple[Truth, ...]

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def facts(self) -> list[Facts]:
        """The facts of each."""
        return [truth.facts for truth in self.truths]

    def select(self, chosen: np.ndarray) -> CaptionExamples:
        """The examples at ``chosen`` (int)."""
        return CaptionExamples(self.windows.select(chosen), tuple(self.truths[i] for i in chosen))


def tokens_of_folder(
    frozen: FrozenModel, folder: WindowFolder, group: str, every: int = 1, progress: Callable[[float], None] = lambda done: None
) -> WindowTokens:
    """The tokens of every so many-th window of a split."""
    windows = folder.load(frozen.config.modalities, [group])
    windows = windows.select(np.arange(0, len(windows), every))
    stamps_ns = folder.stamps_ns()
    return frozen.stem_tokens(windows, stamps_ns if windows.place is None else stamps_ns[windows.place], progress)


def with_truth(windows: WindowTokens, drives: Sequence[Path]) -> CaptionExamples:
    """Add the truth from the folders of the drives, which lie in one of the folders ``drives`` under the names of the recordings.

    Windows without a truth, because the drive has only just begun, are left out. Raises DataError for a drive that is nowhere.
    """
    scenes = {int(i): Scenes(_find(windows.bags[i], drives)) for i in np.unique(windows.bag)}
    found = [scenes[int(bag)].at(int(stamp_ns)) for bag, stamp_ns in zip(windows.bag, windows.stamp_ns)]
    chosen = np.array([i for i, truth in enumerate(found) if truth is not None], np.int64)
    return CaptionExamples(windows.select(chosen), tuple(truth for truth in found if truth is not None))


def _find(name: str, drives: Sequence[Path]) -> Path:
    for folder in drives:
        if (folder / name / TRUTH_FILE).is_file():
            return folder / name
    raise DataError(
        f"truth of drive {name}",
        f"no {name}/{TRUTH_FILE} in {', '.join(map(str, drives))}",
        "the folder of the simulated drives",
        "give the folder that the data set was made from; `sentryfuse simulate --count` adds the file to drives that lack it",
    )
