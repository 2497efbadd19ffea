"""The training YAML as dataclasses: every key that exists, checked, with its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ..errors import ParameterError
from ..modalities.inputs import ModalitySpec
from .augment import Augment
from .schedule import Schedule

SECOND_PASSES = ("pruned", "full", "none")
GATES = ("mask", "blind", "fixed")


@dataclass(frozen=True)
class Recipe:
    """One training run. ``modalities`` are spec dicts; empty mean/std are measured on the training recordings."""

    dataset: str
    modalities: tuple[Mapping[str, Any], ...]
    train_groups: tuple[int | str, ...] = ("train",)  # subjects, folds or splits, as the data set has them
    validation_groups: tuple[int | str, ...] = ()     # held out of training; temperatures and choices come from them
    test_groups: tuple[int | str, ...] = ()           # only `sentryfuse evaluate` reads these
    model: Mapping[str, Any] = field(default_factory=dict)  # FuseConfig fields but modalities and classes
    seed: int = 0
    epochs: int = 120
    batch: int = 32
    learning_rate: float = 1e-3
    gate_learning_rate: float = 3e-3
    weight_decay: float = 0.05
    clip: float = 2.0                         # gradient norm
    label_smoothing: float = 0.05
    balance: float = 0.0                      # weight of a class in the loss: its count to the power of minus this
    distill: float = 1.0                      # weight of KL(pruned || full)
    gate_loss: float = 1.0                    # weight of the saliency alignment
    teacher_rate: float = 0.1                 # moving average of the saliency
    ema: float = 0.99                         # moving average of the weights that is evaluated and shipped; 0 = none
    # The next three are for comparisons (sentryfuse bench); anything but the defaults is a control, not a better recipe.
    second_pass: str = "pruned"               # pruned; full: the same width again (self-distillation alone); none
    gate: str = "mask"                        # mask; blind: one learned order for all masks; fixed: a random one, not learned
    spend_freed: bool = True                  # the pruned pass spends what absent sensors free
    validate_every: int = 10                  # epochs
    threads: int = 1                          # torch threads on the CPU
    device: str = "auto"                      # cpu, cuda, or auto: CUDA where there is one
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        checks = {
            "train_groups": bool(self.train_groups), "modalities": bool(self.modalities),
            "epochs": self.epochs >= 1, "batch": self.batch >= 1, "learning_rate": self.learning_rate > 0,
            "ema": 0 <= self.ema < 1, "balance": 0 <= self.balance <= 1, "device": self.device in ("auto", "cpu", "cuda"),
            "second_pass": self.second_pass in SECOND_PASSES, "gate": self.gate in GATES,
            "threads": self.threads >= 1, "validate_every": self.validate_every >= 1,
            "validation_groups": not set(self.validation_groups) & set(self.train_groups),
            "test_groups": not set(self.test_groups) & (set(self.train_groups) | set(self.validation_groups)),
        }
        for name, good in checks.items():
            if not good:
                choices = {"device": "auto, cpu or cuda", "second_pass": ", ".join(SECOND_PASSES), "gate": ", ".join(GATES),
                           "ema": "0 to 1", "balance": "0 to 1"}
                expected = choices.get(name, "groups that do not overlap" if name.endswith("_groups")
                                       else "at least one, and positive")
                raise ParameterError(f"training recipe {name}", getattr(self, name), expected, "correct the training YAML")

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
        """From the YAML's mapping; raises ParameterError on a missing or unknown key."""
        values = dict(values)
        for name, part in (("schedule", Schedule), ("augment", Augment)):
            values[name] = _build(part, values.get(name) or {}, f"training recipe {name}")
        for name in ("modalities", "train_groups", "validation_groups", "test_groups"):
            if name in values:
                values[name] = tuple(values[name] or ())
        return _build(cls, values, "training recipe")

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """From a YAML file; raises ParameterError where it is missing or not YAML."""
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ParameterError(f"training recipe {path}", str(error), "a readable YAML file",
                                 "start from config/train_utd_mhad.yaml") from error
        if not isinstance(values, dict):
            raise ParameterError(f"training recipe {path}", type(values).__name__, "a mapping",
                                 "start from config/train_utd_mhad.yaml")
        return cls.from_dict(values)


def _build(kind: type, values: Any, what: str) -> Any:
    known = {f.name for f in fields(kind)}
    if not isinstance(values, Mapping) or set(values) - known:
        seen = sorted(set(values) - known) if isinstance(values, Mapping) else type(values).__name__
        raise ParameterError(f"{what} keys", seen, "keys among " + ", ".join(sorted(known)), "correct the training YAML")
    values = {k: tuple(v) if isinstance(v, list) and kind is not Recipe else v for k, v in values.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ParameterError(what, str(error), "all required keys", "correct the training YAML") from error
