"""What an evaluation measures, as records; `to_dict` gives the JSON report.

A mask is written as bits in the order of the model's modalities ("101"); live names its live sensors. Shares and accuracies
are rounded to four places and None if there is nothing to divide by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

Interval95 = tuple[float, float]  # 95 % confidence interval


@dataclass(frozen=True)
class MaskResult:
    """One mask at one pruning ratio: accuracy and calibration, and what a prediction costs.

    judged: windows in which one of the mask's sensors had data; without any, accuracy, ci95, ece and confidence are None.
    accuracy_live and ece_live are known only of recordings that are judged as a whole: they are of the last moment at which all
    sensors deliver. accuracy_all_moments also counts the windows in which the label changes, where there are such. latency_ms is
    None if it was not measured.
    """

    mask: str
    live: tuple[str, ...]
    ratio: float
    judged: int
    accuracy: float | None
    ci95: Interval95 | None
    ece: float | None
    confidence: float | None
    accuracy_live: float | None = None
    ece_live: float | None = None
    accuracy_all_moments: float | None = None
    flops: int = 0
    params: int = 0
    latency_ms: float | None = None

    @property
    def missing(self) -> int:
        """How many sensors are missing."""
        return self.mask.count("0")

    def to_dict(self) -> dict[str, object]:
        values = asdict(self)
        if self.accuracy_live is None:
            del values["accuracy_live"], values["ece_live"]
        if self.accuracy_all_moments is None:
            del values["accuracy_all_moments"]
        return values


@dataclass(frozen=True)
class Summary:
    """The few numbers that stand for all masks and ratios. Values are None if the model has too few sensors for them.

    *_missing_worst: the lowest accuracy with that many sensors missing, and the sensors that are live then. drop_*_points: the
    accuracy lost at a ratio level, averaged over all masks [percentage points].
    """

    accuracy_all: float | None
    accuracy_all_ci95: Interval95 | None
    accuracy_one_missing_worst: float | None
    one_missing_worst_live: tuple[str, ...] | None
    accuracy_two_missing_worst: float | None
    two_missing_worst_live: tuple[str, ...] | None
    best_single_sensor: str
    best_single_accuracy: float
    drop_r50_points: float
    drop_r70_points: float
    level_r50: float
    level_r70: float
    ece_mean: float
    ece_mean_all_ratios: float

    def to_dict(self) -> dict[str, object]:
        values = asdict(self)
        single = {"name": values.pop("best_single_sensor"), "accuracy": values.pop("best_single_accuracy")}
        return {**values, "best_single_sensor": single}


@dataclass(frozen=True)
class Confusion:
    """Counts [true class][predicted class] under one mask; recall and precision are by class."""

    mask: str
    live: tuple[str, ...]
    ratio: float
    counts: list[list[int]]
    without_prediction: list[int]
    recall: list[float | None]
    precision: list[float | None]


@dataclass(frozen=True)
class ConditionResult:
    """Accuracy by mask of the windows that were recorded under a condition, nothing pruned."""

    condition: str
    windows: int
    recordings: int
    accuracy: Mapping[str, float | None]


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions whose confidence falls into one bin: mean confidence, accuracy and how many they are."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy over all masks with equally many sensors missing; empty bins are left out."""

    name: str
    missing: int
    masks: tuple[str, ...]
    judged: int
    accuracy: float | None
    confidence: float | None
    ece: float | None
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class SinceChange:
    """The windows that end from_s to to_s after a change of the label (to_s None: later): how many, and how many are right."""

    from_s: float
    to_s: float | None
    windows: int
    accuracy: float | None


@dataclass(frozen=True)
class Moments:
    """All sensors, nothing pruned: accuracy at all moments, those included in which the label has just changed.

    steady: of the windows throughout which one label held, as everywhere else in a measurement.
    """

    windows: int
    accuracy: float | None
    steady_windows: int
    steady_accuracy: float | None
    since_change: tuple[SinceChange, ...]


@dataclass(frozen=True)
class Measurement:
    """Everything measured of one model on one data set, on windows throughout which one label held.

    live_share: how often each sensor was live. moments: the other windows too; None if the data set has none.
    """

    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    levels: tuple[float, ...]
    windows: int
    recordings: int
    live_share: Mapping[str, float]
    latency_runs: int
    calibrated: bool
    summary: Summary
    rows: tuple[MaskResult, ...]
    confusion: tuple[Confusion, ...]
    conditions: tuple[ConditionResult, ...]
    reliability: tuple[Reliability, ...]
    moments: Moments | None = None

    def to_dict(self) -> dict[str, object]:
        return {
            "modalities": list(self.modalities),
            "classes": list(self.classes),
            "levels": list(self.levels),
            "windows": self.windows,
            "recordings": self.recordings,
            "present": dict(self.live_share),
            "latency_runs": self.latency_runs,
            "calibrated": self.calibrated,
            "summary": self.summary.to_dict(),
            "rows": [row.to_dict() for row in self.rows],
            "confusion": [asdict(one) for one in self.confusion],
            "conditions": [asdict(row) for row in self.conditions],
            "reliability": [asdict(group) for group in self.reliability],
            "moments": asdict(self.moments) if self.moments is not None else None,
        }


@dataclass(frozen=True)
class EvaluationReport:
    """A measurement with its provenance: which command, model, data and machine, and what to be careful about.

    model_data: what the checkpoint says of its training data. split is None if groups were named instead.
    """

    command: str
    model: str
    model_sha256: str
    model_command: str
    model_data: Mapping[str, object]
    dataset: str
    provenance: str
    split: str | None
    budget: str  # what a ratio is a share of: "flops" or "time"
    groups: tuple[int | str, ...]
    warnings: tuple[str, ...]
    machine: Mapping[str, object]
    measured: Measurement

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON; the measurement's keys stand beside those of the provenance."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "measured"}
        return {**own, **self.measured.to_dict()}
