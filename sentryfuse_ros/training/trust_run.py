"""From a model and its data set to its trust file: `sentryfuse trust`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..datasets import LabelledDataset, dataset, split_groups
from ..datasets.recording import Group
from ..datasets.windows import WindowSet
from ..errors import DataError, ParameterError
from ..files import check_writable
from ..model.checkpoint import read_checkpoint, trust_path, write_trust
from ..model.fuse import SentryFuse
from ..model.saved import network_of
from ..model.subnetwork import whole_stems
from ..preprocessing import ModalitySpec
from ..preprocessing.normalise import normalise
from ..sensing.trust_table import trust_record, usable_tables
from ..sensor_kinds import sensor_kind
from .augment import Augment
from .examples import Examples, RecordingExamples, examples_of
from .logits import predict_subnetworks
from .made_up_lies import MadeUpLie
from .trust import Windows, fit_table

HARM_WINDOWS = 400  # on which it is measured whether a lie harms
HARMLESS = 0.01  # a lie is only warned of if the accuracy with it is at least so much above that without the sensor


@dataclass(frozen=True)
class TrustTask:
    """What a trust file is made of. groups: of the training; () for those that the checkpoint names."""

    model: Path
    dataset: str
    train_groups: tuple[Group, ...] = ()
    validation_groups: tuple[Group, ...] = ()
    inputs: tuple[str, ...] = ()  # model inputs whose table is made; () for all. The others keep theirs.
    command: str = ""


def make_trust_file(task: TrustTask, say: Callable[[str], None]) -> Path:
    """Fit one table for each model input of a kind that has quantities, and write the file beside the model; returns its path.

    Raises CheckpointError, SentryFuseError where the file cannot be written, or DataError where no input has enough windows.
    """
    checkpoint = read_checkpoint(task.model)
    check_writable(trust_path(task.model))  # now, and not after minutes of work
    recipe = checkpoint.info.get("recipe", {})
    groups = [
        task.train_groups or tuple(recipe.get("train_groups", ())),
        task.validation_groups or tuple(recipe.get("validation_groups", ())),
    ]
    source = dataset(task.dataset)
    network = network_of(checkpoint)
    specs = checkpoint.config.modalities
    own = [_examples(source, specs, names) if names else None for names in groups]
    if own[0] is None:
        raise DataError("training groups", "none", "those that the model was trained on", "name them with --groups")
    unknown = sorted(set(task.inputs) - {spec.name for spec in specs})
    if unknown:
        raise ParameterError("model input", ", ".join(unknown), "one of " + ", ".join(s.name for s in specs), "correct the name")
    tables = usable_tables(checkpoint.trust, f"trust file of {task.model}", specs) if task.inputs else {}
    for place, spec in enumerate(specs):
        if task.inputs and spec.name not in task.inputs:
            continue
        table = fit_table(windows_of(spec, own[0], own[1]))
        if table is None:
            say(
                f"{spec.name}: no table, because there are too few windows, its kind has no quantities, or it hardly ever changed"
            )
            continue
        judged = own[1] or own[0]
        harm = _harm(network, judged, place, sensor_kind(spec.kind).made_up_lies(replace(spec, mean=(), std=())))
        tables[spec.name] = replace(table, suspicions=tuple(replace(s, masks=harm[s.name]) for s in table.suspicions))
        mild = [name for name, harms in harm.items() if not harms]
        say(
            f"{spec.name}: {len(table.names)} quantities of {table.windows} windows, {len(table.suspicions)} known lies"
            + (f", of which {', '.join(mild)} do no harm and are only warned of" if mild else "")
        )
    if not tables:
        raise DataError(f"data set {task.dataset}", "too few windows", "at least 200 of one model input", "record more")
    return write_trust(task.model, trust_record(tables, task.command))


def _examples(source: LabelledDataset, specs: Sequence[ModalitySpec], groups: Sequence[Group]) -> Examples:
    """The examples of some groups; raises DataError where one has none. A group may be given as text, as on a command line."""
    known = {str(group): group for of_split in source.SPLIT.values() for group in of_split}
    groups = [known.get(str(group), group) for group in groups]
    loaded = source.load(specs, groups)
    return examples_of(loaded if isinstance(loaded, WindowSet) else split_groups(loaded, groups), Augment())


def windows_of(
    spec: ModalitySpec, training: Examples, validation: Examples | None, chosen: Mapping[str, np.ndarray] | None = None
) -> Windows:
    """The windows of one model input. ``chosen``: of "training" and "validation", the indices of those that are taken."""
    raw = replace(spec, mean=(), std=())
    parts = [(training, False)] + ([(validation, True)] if validation is not None else [])
    index = [
        np.arange(len(part)) if chosen is None else chosen["validation" if held_out else "training"] for part, held_out in parts
    ]
    counts = [len(i) for i in index]
    random = np.random.default_rng(0)

    def rows(at: np.ndarray) -> np.ndarray:
        found = np.empty((len(at), *spec.shape), np.float32)
        first = 0
        for (part, _), own, count in zip(parts, index, counts, strict=True):
            mine = (at >= first) & (at < first + count)
            if mine.any():
                # A recording gives one window as it is and any number of random ones, which the robot sees as well.
                rng = random if isinstance(part, RecordingExamples) else None
                found[mine] = part.inputs(own[at[mine] - first], [raw], rng)[spec.name]
            first += count
        return found

    names = set.intersection(*(set(part.conditions) for part, _ in parts))
    return Windows(
        raw,
        sum(counts),
        rows,
        np.repeat([held_out for _, held_out in parts], counts),
        {
            n: np.concatenate([part.conditions[n][own] for (part, _), own in zip(parts, index, strict=True)])
            for n in sorted(names)
        },
    )


class LyingExamples:
    """Examples of which one sensor tells a lie."""

    def __init__(self, examples: Examples, sensor: str, lie: MadeUpLie):
        self.examples, self._sensor, self._lie = examples, sensor, lie
        self.labels, self.conditions, self.steady = examples.labels, examples.conditions, examples.steady

    def __len__(self) -> int:
        return len(self.examples)

    def names(self, index: Iterable[int]) -> list[str]:
        return self.examples.names(index)

    def measured(self, specs: Sequence[ModalitySpec]) -> tuple[ModalitySpec, ...]:
        return self.examples.measured(specs)

    def inputs(
        self, index: np.ndarray, specs: Sequence[ModalitySpec], rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        found = self.examples.inputs(index, specs, rng)
        random = np.random.default_rng(0)
        for spec in specs:
            if spec.name == self._sensor:
                raw = self.examples.inputs(index, [replace(spec, mean=(), std=())], rng)[spec.name]
                told = np.stack([self._lie.tell(x, random) for x in raw]).astype(np.float32)
                found[spec.name] = normalise(spec, told)
        return found


def _harm(network: SentryFuse, examples: Examples, place: int, lies: Sequence[MadeUpLie]) -> dict[str, bool]:
    """For each lie of one sensor, whether the model is no better off with it than without the sensor."""
    specs = network.config.modalities
    if len(specs) < 2:
        return {lie.name: True for lie in lies}
    random = np.random.default_rng(0)
    index = np.sort(random.choice(len(examples), min(HARM_WINDOWS, len(examples)), replace=False))
    labels = examples.labels[index]

    def accuracy(own: Examples, live: Sequence[bool]) -> float:
        part = whole_stems(network.config, tuple(live), 0.0)
        return float((predict_subnetworks(network, own, [part], index=index)[part].argmax(axis=1) == labels).mean())

    without = accuracy(examples, [i != place for i in range(len(specs))])
    everything = [True] * len(specs)
    return {lie.name: accuracy(LyingExamples(examples, specs[place].name, lie), everything) < without + HARMLESS for lie in lies}
