"""What a reader must know before believing the numbers of an evaluation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets import DATASETS, Group
from ..training.examples import Examples, WindowExamples
from .records import Measurement

FEW_RECORDINGS = 20  # with fewer, a bootstrap over recordings gives intervals that are too narrow


def leaks(
    trained: Mapping[str, Any], name: str, groups: Sequence[Group], recordings: Sequence[str], origins: Collection[str] = ()
) -> list[str]:
    """Which of these groups and recordings the model knows from its training.

    ``trained`` is the record of the training data in the checkpoint, JSON of any version of this package, hence its type.
    ``name`` is the data set of the evaluation, ``origins`` the persons, places or days that its recordings are of.
    """
    found = []
    for part, what, consequence in (
        ("train", "trained on", "the numbers say nothing about new data"),
        ("validation", "validated on", "temperatures and choices come from them, so the numbers are too good"),
    ):
        seen = sorted(set(map(str, trained.get(f"{part}_groups", ()))) & set(map(str, groups)))
        if seen and same_data(trained.get("dataset"), name):
            found.append(f"The model was {what} {', '.join(seen)} of this data set: {consequence}.")
        known = sorted(set(trained.get("recordings", {}).get(part, ())) & set(recordings))
        if known:
            found.append(
                f"{len(known)} of the {len(recordings)} recordings have the names of recordings that the model was {what} "
                f"(e.g. {known[0]}): {consequence}."
            )
        of = sorted(set(trained.get("origins", {}).get(part, ())) & set(origins))
        if of and not known:
            found.append(f"The model was {what} other recordings of {', '.join(of)}: {consequence}.")
    return found


def same_data(one: str | None, other: str) -> bool:
    """Whether two names mean one data set: the same public set, or the same folder however its path is written."""
    if not one or one in DATASETS or other in DATASETS:
        return one == other
    return Path(one).resolve() == Path(other).resolve()


def recording_names(examples: Examples) -> list[str]:
    """The names of the recordings that windows come from; none for other examples."""
    if not isinstance(examples, WindowExamples):
        return []
    return [examples.windows.recordings[place] for place in sorted(set(examples.windows.recording.tolist()))]


def cautions(measured: Measurement) -> list[str]:
    """What the data alone tells: sensors that were often silent, labels that never hold for long, and too few recordings."""
    found = [
        f"{name} had data in only {100 * share:.1f} % of the windows. A set of sensors is judged on the windows in which one of "
        "them had data, so the numbers of different sets are of different windows."
        for name, share in measured.live_share.items()
        if share < 1
    ]
    if measured.moments is not None and not measured.moments.steady_windows:
        found.append("The label changes in every window, so the numbers are of windows in which it does.")
    if measured.recordings == 1:
        found.append("Only 1 recording: there are no intervals.")
    elif measured.recordings < FEW_RECORDINGS:
        found.append(f"Only {measured.recordings} recordings: with so few, the intervals are too narrow.")
    return found
