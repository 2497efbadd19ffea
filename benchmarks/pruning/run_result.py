"""What is measured of one trained network: the record, and its form in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .runs import Run

ByRatio = dict[str, float]  # pruning ratio -> value
ByMask = dict[str, float]  # mask bits -> value


@dataclass(frozen=True)
class PlanResults:
    """What the plans of a network reach on the test split."""

    measured_on: int  # test examples
    modes: dict[str, dict[str, str]]  # plan -> ratio -> budget mode, chosen on the validation split
    dense: ByMask  # accuracy at r = 0
    whole: dict[str, list[str]]  # ratio -> masks whose budget leaves nothing to prune
    test: dict[str, dict[str, ByMask]]  # plan -> ratio -> mask -> accuracy
    spent: dict[str, ByRatio]  # plan -> ratio -> share of the FLOPs that the budget is of, mean over the masks
    # Where the budget is over the whole network: plan -> ratio -> mask -> what runs, as `whole.measurement.part_name` writes it.
    parts: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunResult:
    """Everything that is measured of one trained network."""

    run: Run
    evaluation: str  # hash of how it was measured
    train_s: float
    measure_s: float
    sensors: int
    params: int  # without those of the gate
    flops: int  # of the whole forward pass
    flops_dense_attention: int  # the same with ordinary attention
    test_examples: int
    accuracy: float  # at r = 0 with all sensors, on the whole test split
    plans: PlanResults | None  # None for a task whose whole network alone is measured

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON; the plans' results stand beside the others."""
        out = {k: v for k, v in asdict(self).items() if k not in ("run", "plans", "accuracy")}
        plans = {} if self.plans is None else asdict(self.plans)
        if not plans.get("parts"):
            plans.pop("parts", None)
        return {"run": self.run._asdict(), **out, **plans, "accuracy": self.accuracy}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunResult:
        """Inverse of `to_dict`. Raises KeyError or TypeError where the values are not those of a result."""
        own = {f.name: values[f.name] for f in fields(cls) if f.name not in ("run", "plans")}
        names = [f.name for f in fields(PlanResults) if f.name in values or f.name != "parts"]
        plans = PlanResults(**{n: values[n] for n in names}) if "test" in values else None
        return cls(run=Run(**values["run"]), plans=plans, **own)
