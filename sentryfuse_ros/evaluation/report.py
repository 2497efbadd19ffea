"""Everything measured of one model on one data set, and the report that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import Group, LabelledDataset, Recording, dataset
from ..datasets.window_folder import WindowFolder
from ..datasets.windows import WindowSet
from ..errors import DataError, ParameterError
from ..machine import machine
from ..preprocessing import ModalitySpec
from ..runtime.engine import Engine
from ..runtime.plan_costs import choose_by_time
from ..training.examples import Examples, RecordingExamples, WindowExamples, examples_of
from .accuracy import accuracies, accuracy_rows
from .breakdown import condition_rows, confusions, reliability
from .cautions import cautions, leaks, recording_names, same_data
from .cost import costs
from .moments import moments
from .predictions import LastMoments, live_sensors, predict
from .records import EvaluationReport, Measurement
from .summary import summarise

TEST = "test"  # the split that no training looks at


@dataclass(frozen=True)
class EvaluationTask:
    """What to evaluate on what.

    groups: instead of a split, names of the data set's groups. Without either, the test groups of the model's recipe are taken
    if it was trained on this data set, and otherwise the split "test". budget: what a ratio is a share of, "flops" of the fusion
    network or measured "time", by which the node goes. command: for the report.
    """

    model: Path
    dataset: str
    split: str | None = None
    groups: tuple[str, ...] | None = None
    threads: int = 1
    latency_runs: int = 60
    budget: str = "flops"
    command: str = ""


class Evaluation:
    """A task whose model and data have been loaded; `run` measures. Raises SentryFuseError on a bad model, data set or group."""

    def __init__(self, task: EvaluationTask):
        if task.latency_runs < 0:
            raise ParameterError("--latency-runs", task.latency_runs, "0 or more")
        self.task = task
        self.engine = Engine.load(task.model, threads=task.threads)
        if task.budget == "time":
            choose_by_time(self.engine, task.threads)
        self.source = dataset(task.dataset)
        names = task.groups
        if names is None and task.split is None:
            names = own_test_groups(self.engine.info, task.dataset, self.source)
        self.split = None if names else task.split or TEST
        self.groups = chosen_groups(self.source, self.split or TEST, names)
        self.examples = examples_of(load_known(self.source, self.engine.specs, self.groups))

    def run(self) -> EvaluationReport:
        """Measure the model."""
        task, info = self.task, self.engine.info
        measured = evaluate(self.engine, self.examples, self.source.CLASSES, task.latency_runs)
        trained = info.get("data", {})
        origins = self.examples.windows.origins() if isinstance(self.examples, WindowExamples) else ()
        warnings = leaks(trained, task.dataset, self.groups, recording_names(self.examples), origins) + cautions(measured)
        return EvaluationReport(
            command=task.command,
            model=str(task.model),
            model_sha256=info.get("sha256", ""),
            model_command=info.get("command", ""),
            model_data=trained,
            dataset=task.dataset,
            provenance=self.source.PROVENANCE,
            split=self.split,
            budget=task.budget,
            groups=self.groups,
            warnings=tuple(warnings),
            machine=machine(task.threads),
            measured=measured,
        )


def own_test_groups(info: Mapping[str, Any], name: str, source: LabelledDataset) -> tuple[str, ...] | None:
    """The test groups of the recipe in a model's JSON, where they are of this data set; None if they are its split "test"."""
    if not same_data(info.get("data", {}).get("dataset"), name):
        return None
    groups = tuple(map(str, info.get("recipe", {}).get("test_groups", ())))
    return None if set(groups) == set(map(str, source.SPLIT.get(TEST, ()))) else groups or None


def load_known(
    source: LabelledDataset, specs: Sequence[ModalitySpec], groups: Sequence[Group]
) -> Sequence[Recording] | WindowSet:
    """The examples of some groups; a sensor that a window folder was made without is absent in all of its windows.

    Raises DataError if the data set has none of the model's sensors.
    """
    known = [spec for spec in specs if not isinstance(source, WindowFolder) or spec.name in {own.name for own in source.specs}]
    loaded = source.load(known or specs, groups)
    absent = [spec for spec in specs if spec not in known]
    if not isinstance(loaded, WindowSet) or not absent:
        return loaded
    rows = len(next(iter(loaded.inputs.values())))
    nothing = {spec.name: np.broadcast_to(np.zeros(spec.shape, np.float32), (rows, *spec.shape)) for spec in absent}
    never = {spec.name: np.zeros(len(loaded), bool) for spec in absent}
    return replace(loaded, inputs={**loaded.inputs, **nothing}, live={**loaded.live, **never})


def chosen_groups(source: LabelledDataset, split: str, names: Sequence[str] | None) -> tuple[Group, ...]:
    """The data set's groups of a split, or those that are named; of a window folder also persons, places and recordings.

    Raises DataError on one that it does not have.
    """
    if names is None:
        if split not in source.SPLIT:
            raise DataError("--split", split, "one of " + ", ".join(source.SPLIT), "choose another split, or --groups")
        return tuple(source.SPLIT[split])
    known = {str(group): group for groups in source.SPLIT.values() for group in groups}
    parts = source.parts() if isinstance(source, WindowFolder) else ()
    unknown = [name for name in names if name not in known and name not in parts]
    if unknown:
        expected = "among " + " ".join(sorted(known)) + (", or a person, place or recording of the set" if parts else "")
        raise DataError("--groups", " ".join(unknown), expected, "choose groups the data set has")
    return tuple(known.get(name, name) for name in names)


def evaluate(engine: Engine, examples: Examples, classes: Sequence[str] | None = None, latency_runs: int = 60) -> Measurement:
    """Measure a model; ``classes``: what the labels of the examples are places in (default: the model's classes).

    Recordings are judged as a whole: each sensor's window ends at that sensor's last row. Windows in which the label changes
    count only for the moments, unless there are no others. Raises DataError if there is no example that can be judged, or a
    class that the model does not know.
    """
    found = everything = predict(engine, examples, classes)
    met = None
    if isinstance(examples, WindowExamples) and examples.windows.steady is not None:
        steady, since_change_s = examples.windows.steady, examples.windows.since_change_s
        if since_change_s is not None:
            met = moments(found, steady, since_change_s)
        if steady.any() and not steady.all():
            found, examples = found.select(steady), WindowExamples(examples.windows.steady_only())
            if not found.judged.any():
                raise DataError(
                    "data set",
                    "no live sensor of the model in any window throughout which one label holds",
                    "at least one such window with a live sensor",
                    "choose other groups",
                )
    rows = accuracy_rows(found)
    if found is not everything:
        rows = [replace(row, accuracy_all_moments=a) for row, a in zip(rows, accuracies(everything), strict=True)]
    if isinstance(examples, RecordingExamples):
        live = accuracy_rows(predict(engine, LastMoments(examples.recordings), classes))
        rows = [replace(row, accuracy_live=other.accuracy, ece_live=other.ece) for row, other in zip(rows, live)]
    rows = [replace(row, **cost.to_dict()) for row, cost in zip(rows, costs(engine, examples, found.masks, latency_runs))]
    shares = live_sensors(examples, engine.modalities).mean(0)
    return Measurement(
        modalities=tuple(engine.modalities),
        classes=tuple(engine.classes),
        levels=tuple(engine.ratio_levels),
        windows=len(examples),
        recordings=len(np.unique(found.recording)),
        live_share={name: share_of(float(share)) for name, share in zip(engine.modalities, shares)},
        latency_runs=latency_runs,
        calibrated=bool(engine.info.get("temperatures")),
        summary=summarise(rows, engine.quantise),
        rows=tuple(rows),
        confusion=tuple(confusions(found)),
        conditions=tuple(condition_rows(found, examples.conditions)),
        reliability=tuple(reliability(found)),
        moments=met,
    )


def share_of(share: float) -> float:
    """To four places; 1 only if the share is exactly 1."""
    return round(share, 4) if share == 1 else min(round(share, 4), 0.9999)
