"""The training YAML as dataclasses: every key that exists, checked, with its default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ..errors import ParameterError
from ..preprocessing import ModalitySpec
from .augment import Augment
from .schedule import Schedule

SECOND_PASSES = ("pruned", "full", "none")
GATES = ("mask", "blind", "fixed")
_REMEDY = "correct the training YAML"

# Ranges: a test and its wording.
_COUNT = (lambda v: v >= 1, "1 or more")
_POSITIVE = (lambda v: v > 0, "a number above 0")
_STRENGTH = (lambda v: v >= 0, "0 or more")
_SHARE = (lambda v: 0 <= v <= 1, "0 to 1")
_BELOW_ONE = (lambda v: 0 <= v < 1, "0 to 1, 1 excluded")
_TIME = (lambda v: 0 < v <= 1, "above 0, at most 1")  # divided by
_SEED = (lambda v: 0 <= v < 2**32, f"0 to {2**32 - 1}")
_RECIPE_RANGES = {
    "seed": _SEED,
    "epochs": _COUNT,
    "batch": _COUNT,
    "validate_every": _COUNT,
    "threads": _COUNT,
    "learning_rate": _POSITIVE,
    "gate_learning_rate": _STRENGTH,
    "weight_decay": _STRENGTH,
    "max_grad_norm": _POSITIVE,
    "label_smoothing": _BELOW_ONE,
    "balance": _SHARE,
    "distill": _STRENGTH,
    "dense_distill": _STRENGTH,
    "gate_loss": _STRENGTH,
    "dense_temperature": _POSITIVE,
    "teacher_rate": _SHARE,
    "ema_decay": _BELOW_ONE,
}
_SCHEDULE_RANGES = {
    "drop_from": _SHARE,
    "drop_to": _SHARE,
    "drop_until": _TIME,
    "ratio_max": _SHARE,
    "ratio_until": _TIME,
    "ratio_from": _SHARE,
    "freeze_at": _TIME,
    "warmup": _BELOW_ONE,
}
_AUGMENT_RANGES = {f.name: _STRENGTH for f in fields(Augment)} | {
    "partial": _SHARE,
    "partial_from": _SHARE,
    "speed": _BELOW_ONE,
    "camera_zoom": _BELOW_ONE,
    "erase": _SHARE,
    "erase_share": _SHARE,
    "mirror": _SHARE,
    "turn": _SHARE,
    "bands_share": _SHARE,
    "lidar_drop": _SHARE,
}


@dataclass(frozen=True)
class Recipe:
    """One training run. ``modalities`` are spec dicts; empty mean/std are measured on the training recordings."""

    dataset: str
    modalities: tuple[Mapping[str, Any], ...]
    train_groups: tuple[int | str, ...] = ("train",)  # subjects, folds or splits, as the data set has them
    validation_groups: tuple[int | str, ...] = ()  # held out of training; temperatures and choices come from them
    test_groups: tuple[int | str, ...] = ()  # only `sentryfuse evaluate` reads these
    model: Mapping[str, Any] = field(default_factory=dict)  # FuseConfig fields but modalities and classes
    seed: int = 0
    epochs: int = 120
    batch: int = 32
    learning_rate: float = 1e-3
    gate_learning_rate: float = 3e-3
    weight_decay: float = 0.05
    max_grad_norm: float = 2.0  # gradient norm
    label_smoothing: float = 0.05
    balance: float = 0.0  # weight of a class in the loss: its count to the power of minus this
    distill: float = 1.0  # weight of KL(pruned || full)
    dense_teachers: tuple[str, ...] = ()  # folders of trained models; the full-width pass also learns from their mean answer
    dense_distill: float = 1.0  # weight of KL(dense teachers || full)
    dense_temperature: float = 1.0  # both are divided by it: above 1 the teachers' doubts weigh more
    gate_loss: float = 1.0  # weight of the saliency alignment
    teacher_rate: float = 0.1  # moving average of the saliency
    ema_decay: float = 0.99  # moving average of the weights that is evaluated and shipped; 0 = none
    # The next three are for comparisons (sentryfuse bench); anything but the defaults is a control, not a better recipe.
    second_pass: str = "pruned"  # pruned; full: the same width again (self-distillation alone); none
    gate: str = "mask"  # mask; blind: one learned order for all masks; fixed: a random one, not learned
    spend_freed: bool = True  # the pruned pass spends what absent sensors free
    validate_every: int = 10  # epochs
    threads: int = 1  # torch threads on the CPU
    device: str = "auto"  # cpu, cuda, or auto: CUDA where there is one
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        _check_ranges("training recipe", self, _RECIPE_RANGES)
        _check_ranges("training recipe schedule", self.schedule, _SCHEDULE_RANGES)
        _check_ranges("training recipe augment", self.augment, _AUGMENT_RANGES)
        names = [m["name"] for m in self.modalities if "name" in m]
        checks = {
            "train_groups": (self.train_groups, "at least one group"),
            "modalities": (self.modalities and all(names.count(n) == 1 for n in names), "at least one, and each name once"),
            "device": (self.device in ("auto", "cpu", "cuda"), "auto, cpu or cuda"),
            "second_pass": (self.second_pass in SECOND_PASSES, ", ".join(SECOND_PASSES)),
            "gate": (self.gate in GATES, ", ".join(GATES)),
            "validation_groups": (not set(self.validation_groups) & set(self.train_groups), "groups that do not overlap"),
            "test_groups": (
                not set(self.test_groups) & {*self.train_groups, *self.validation_groups},
                "groups that do not overlap",
            ),
        }
        for name, (good, expected) in checks.items():
            if not good:
                seen = names if name == "modalities" else getattr(self, name)
                raise ParameterError(f"training recipe {name}", seen, expected, _REMEDY)
        missing, most = self.schedule.missing, len(self.modalities) - 1
        if not all(0 <= chance <= 1 for chance in missing) or most and not any(missing[:most]):
            raise ParameterError("training recipe schedule missing", missing, "chances in 0 to 1, not all of them 0", _REMEDY)

    @property
    def learns_order(self) -> bool:
        """Whether the gate is trained."""
        return self.second_pass == "pruned" and self.gate != "fixed"

    @property
    def specs(self) -> tuple[ModalitySpec, ...]:
        """Modalities as specs, in mask order."""
        return tuple(ModalitySpec.from_dict(m) for m in self.modalities)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """From the YAML's mapping; raises ParameterError on a missing or unknown key, or a value it cannot have."""
        values = dict(values)
        for name, part in (("schedule", Schedule), ("augment", Augment)):
            given = values.get(name)
            values[name] = _build(part, {} if given is None else given, f"training recipe {name}")
        for name in ("modalities", "train_groups", "validation_groups", "test_groups", "dense_teachers"):
            if name in values and values[name] is None:
                values[name] = ()
        return _build(cls, values, "training recipe")

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """From a YAML file; raises ParameterError where it is missing or not YAML."""
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ParameterError(
                f"training recipe {path}", str(error), "a readable YAML file", "start from config/train_utd_mhad.yaml"
            ) from error
        if not isinstance(values, dict):
            raise ParameterError(
                f"training recipe {path}", type(values).__name__, "a mapping", "start from config/train_utd_mhad.yaml"
            )
        return cls.from_dict(values)


def _build(kind: type, values: Any, what: str) -> Any:
    known = {f.name: f.type for f in fields(kind)}
    if not isinstance(values, Mapping) or set(values) - set(known):
        seen = sorted(set(values) - set(known), key=str) if isinstance(values, Mapping) else type(values).__name__
        raise ParameterError(f"{what} keys", seen, "keys among " + ", ".join(sorted(known)), _REMEDY)
    values = {name: _typed(value, known[name], f"{what} {name}") for name, value in values.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ParameterError(what, str(error), "all required keys", _REMEDY) from error


def _check_ranges(what: str, part: Any, ranges: Mapping[str, tuple]) -> None:
    for name, (good, expected) in ranges.items():
        value = getattr(part, name)
        if not good(value):
            raise ParameterError(f"{what} {name}", value, expected, _REMEDY)


def _typed(value: Any, declared: str, what: str) -> Any:
    """The value as the field's annotation has it; raises ParameterError where it is of another type."""
    if declared.startswith("tuple["):
        if not isinstance(value, (list, tuple)):
            raise ParameterError(what, repr(value), "a list", _REMEDY)
        return tuple(_typed(v, declared[len("tuple[") : -len(", ...]")], f"{what}[{i}]") for i, v in enumerate(value))
    if declared == "float":
        return _number(value, what)
    kinds, expected = {
        "int": (int, "a whole number"),
        "int | str": ((int, str), "a name or a whole number"),
        "str": (str, "text"),
        "bool": (bool, "true or false"),
        "Mapping[str, Any]": (Mapping, "a mapping of keys to values"),
        "Schedule": (Schedule, "a mapping"),
        "Augment": (Augment, "a mapping"),
    }[declared]
    if not isinstance(value, kinds) or isinstance(value, bool) and declared != "bool":
        raise ParameterError(what, repr(value), expected, _REMEDY)
    return value


def _number(value: Any, what: str) -> int | float:
    """A finite number, also one in text: YAML 1.1 reads 1e-3, without a point, as text. Whole numbers stay whole."""
    try:
        number = float(value) if isinstance(value, str) else value
        if isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number):
            return number
    except (ValueError, OverflowError):
        pass
    raise ParameterError(what, repr(value), "a finite number", _REMEDY)
