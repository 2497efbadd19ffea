"""The training YAML as a record: every key that exists, with its default and its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml

from ..errors import ParameterError
from ..preprocessing import ModalitySpec
from ..validation import Count, NotNegative, Positive, Seed, Share, ShareBelowOne, build, check, one_of
from .augment import Augment
from .elastic import Elastic
from .recipe_file import read_recipe_file
from .schedule import Schedule

_WHAT, _REMEDY, _EXAMPLE = "training recipe", "correct the training YAML", "write one with sentryfuse train --example RECORDING"
R = TypeVar("R", bound="Recipe")


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    dataset: str  # name of a public data set, or a folder written by `sentryfuse dataset`
    modalities: tuple[Mapping[str, Any], ...]  # one mapping per sensor, in mask order; see preprocessing/spec.py
    # Groups are what the data set is split by: subjects, folds, or the names of splits.
    train_groups: tuple[int | str, ...] = ("train",)
    validation_groups: tuple[int | str, ...] = ()  # held out of training; accuracies on the way and temperatures come from them
    test_groups: tuple[int | str, ...] = ()  # read by `sentryfuse evaluate` only
    classes: tuple[str, ...] = ()  # for `sentryfuse dataset`: the labels that there are, in this order; empty: all that occur
    border_windows: bool = False  # whether windows in which the label changes are trained on too, by the label at their end
    model: Mapping[str, Any] = field(default_factory=dict)  # the fields of FuseConfig, except modalities and classes
    seed: Seed = 0
    epochs: Count = 120
    batch: Count = 32
    learning_rate: Positive = 1e-3
    gate_learning_rate: NotNegative = 3e-3
    weight_decay: NotNegative = 0.05
    max_grad_norm: Positive = 2.0  # gradients are clipped to this norm
    label_smoothing: ShareBelowOne = 0.05
    balance: Share = 0.0  # a class weighs count ** -balance in the loss: 0 weighs all examples alike, 1 all classes alike
    distill: NotNegative = 1.0  # weight of KL(pruned pass || full-width pass)
    gate_loss: NotNegative = 1.0  # weight of the loss that aligns the gate with the saliency
    teacher_rate: Share = 0.1  # how much of a new measurement enters the moving average of the saliency
    ema_decay: ShareBelowOne = 0.99  # decay of the moving average of the weights, which is what ships; 0 ships the last weights
    validate_every: Count = 10  # epochs
    threads: Count = 1  # torch threads on the CPU
    device: Annotated[str, one_of(("auto", "cpu", "cuda"))] = "auto"  # auto takes CUDA where there is a device
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    elastic: Elastic = field(default_factory=Elastic)  # the second stage, in which the parts of the network learn to stand alone

    def __post_init__(self) -> None:
        check(self, _WHAT, _REMEDY)
        names = [m["name"] for m in self.modalities if "name" in m]
        training, validation = set(self.train_groups), set(self.validation_groups)
        self._require("train_groups", self.train_groups, bool(training), "at least one group")
        unique = bool(self.modalities) and all(names.count(n) == 1 for n in names)
        self._require("modalities", names, unique, "at least one, and each name once")
        apart = "groups that are not in another split too"
        self._require("validation_groups", self.validation_groups, not validation & training, apart)
        self._require("test_groups", self.test_groups, not set(self.test_groups) & (training | validation), apart)
        missing, most = self.schedule.missing, len(self.modalities) - 1
        possible = not most or any(missing[:most])
        self._require("schedule missing", missing, possible, "a chance above 0 of as many missing sensors as can be missing")
        series = [spec.name for spec in self.specs if spec.kind == "series"]
        for key in ("series_scale", "series_shift"):
            if isinstance(strengths := getattr(self.augment, key), Mapping):
                known = set(strengths) <= set(series)
                self._require(f"augment {key}", list(strengths), known, "names of series among " + (", ".join(series) or "none"))
        for name, channels in self.augment.swapped_channels.items():
            count = next((spec.channels for spec in self.specs if spec.name == name and len(spec.shape) == 2), 0)
            each_once = bool(count) and sorted(map(abs, channels)) == list(range(1, count + 1))
            self._require(
                f"augment swapped_channels {name}", list(channels), each_once, f"each of the channels 1 to {count} once"
            )

    def _require(self, name: str, seen: object, good: bool, expected: str) -> None:
        if not good:
            raise ParameterError(f"{_WHAT} {name}", seen, expected, _REMEDY)

    @property
    def specs(self) -> tuple[ModalitySpec, ...]:
        """The modalities as specs, in mask order."""
        return tuple(ModalitySpec.from_dict(m) for m in self.modalities)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls: type[R], values: Mapping[str, Any]) -> R:
        """From the YAML's mapping; raises ParameterError on an unknown or missing key, or a value that its key cannot have."""
        lists = ("modalities", "classes", "train_groups", "validation_groups", "test_groups")
        # A list or a section without entries is None in YAML.
        empty: dict[str, Any] = {**dict.fromkeys(lists, ()), "model": {}}
        return build(cls, {k: empty.get(k) if v is None else v for k, v in values.items()}, _WHAT, _REMEDY)

    @classmethod
    def read(cls: type[R], path: str | Path, changes: Sequence[str] = ()) -> R:
        """From a YAML file, with ``changes`` of the form KEY=VALUE, such as elastic.epochs=0; the values are YAML too.

        Raises ParameterError where the file is missing or not YAML, or a change is not of that form.
        """
        values = read_recipe_file(path, _WHAT, _EXAMPLE)
        for change in changes:
            _apply(change, values)
        return cls.from_dict(values)


def _apply(change: str, values: dict[str, Any]) -> None:
    """Make one change of the form KEY=VALUE in the mapping of a recipe; a dot in the key leads into a section."""
    key, separator, text = change.partition("=")
    *sections, last = key.strip().split(".")
    expected = "KEY=VALUE with a value in YAML, such as batch=64 or elastic.epochs=0"
    if not separator or not last:
        raise ParameterError("--set", repr(change), expected)
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ParameterError("--set", repr(change), f"a section called {section}; it is a {type(inner).__name__}")
        values = inner
    try:
        values[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the last two as in `yaml_files.load_yaml`
        raise ParameterError("--set", repr(change), expected) from error
