"""The description of a window folder, dataset.json: how its windows were extracted, and what every recording gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ..preprocessing import ModalitySpec
from .extract import WindowSettings

FORMAT, FORMAT_VERSION = "sentryfuse windows", 1


class SensorTopic(NamedTuple):
    """A sensor instance as it was configured for the extraction."""

    name: str
    kind: str
    topic: str
    model_input: str
    part: int = 0


@dataclass(frozen=True)
class BagDescription:
    """What one recording gave: its windows by label, or the error that kept it from being read.

    steady: how many of the windows have one label throughout, None if that was not recorded.

    conditions: what disturbed it. origin: the person, place or day that it is of, if that was told. skipped: reason -> moments
    without a window. topics: sensor -> topic, and rates_hz: how fast it sends. types: of these topics. absent: sensor -> why it
    has no topic. remarks: on the choice of topics. damage: what could not be read. unused: topic -> type. faults: sensor ->
    refused messages. fingerprint: of the files that the windows were made from.
    """

    name: str
    windows: int = 0
    steady: int | None = None
    error: str = ""
    conditions: tuple[str, ...] = ()
    split: str = ""
    origin: str = ""
    duration_s: float = 0.0
    skipped: Mapping[str, int] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)
    rates_hz: Mapping[str, float] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    damage: str = ""
    unused: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str = ""

    def why_empty(self) -> str:
        """Why it gave no window, in words."""
        if self.error:
            return self.error
        skipped = ", ".join(f"{count} moments {reason}" for reason, count in self.skipped.items())
        texts = [skipped or f"it lasts {self.duration_s:g} s", *(f"{name}: {text}" for name, text in self.faults.items())]
        return "; ".join([*texts, *self.remarks, *([self.damage] if self.damage else [])])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BagDescription:
        """Inverse of `to_dict`; unknown keys are ignored. Raises KeyError, TypeError or ValueError on other data."""
        known = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        tuples = {name: tuple(values.get(name, ())) for name in ("conditions", "remarks")}
        return cls(**{**known, "name": values["name"], **tuples})


@dataclass(frozen=True)
class DatasetDescription:
    """A whole window folder.

    labels: the topic or file that they are from. left_out: the recordings that gave no window. label_at, chosen and named:
    as in `WindowSettings`, wanted_classes: its classes.
    """

    command: str
    labels: str
    stride_s: float
    ignore: tuple[str, ...]
    specs: tuple[ModalitySpec, ...]
    sensors: tuple[SensorTopic, ...]
    sensor_settings: tuple[Mapping[str, Any], ...]
    classes: tuple[str, ...] = ()
    windows: int = 0
    bags: tuple[BagDescription, ...] = ()
    left_out: tuple[BagDescription, ...] = ()
    label_at: str = "end"
    wanted_classes: tuple[str, ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)
    named: frozenset[str] = frozenset()

    @classmethod
    def of(cls, command: str, labels: str, settings: WindowSettings) -> DatasetDescription:
        """A data set that has no recordings yet."""
        return cls(
            command=command,
            labels=labels,
            stride_s=settings.stride_s,
            ignore=settings.ignore,
            label_at=settings.label_at,
            wanted_classes=settings.classes,
            chosen=settings.chosen,
            named=settings.named,
            specs=settings.specs,
            sensors=tuple(SensorTopic(s.name, s.kind, s.topic, s.model_input, s.part) for s in settings.sensors),
            sensor_settings=tuple(s.to_dict() for s in settings.sensors),
        )

    def extraction(self) -> dict[str, Any]:
        """The part that decides what windows a recording gives, as in `to_dict`."""
        return {
            "labels": self.labels,
            "stride_s": self.stride_s,
            "ignore": list(self.ignore),
            "label_at": self.label_at,
            "wanted_classes": list(self.wanted_classes),
            "chosen_topics": dict(self.chosen),
            "named_topics": sorted(self.named),
            "modalities": [spec.to_dict() for spec in self.specs],
            "sensors": [list(sensor) for sensor in self.sensors],
            "sensor_settings": [dict(values) for values in self.sensor_settings],
        }

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "command": self.command,
            **self.extraction(),
            "classes": list(self.classes),
            "windows": self.windows,
            "bags": [bag.to_dict() for bag in self.bags],
            "left_out": [bag.to_dict() for bag in self.left_out],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DatasetDescription:
        """Inverse of `to_dict`. Raises KeyError, TypeError or ValueError on other data, ParameterError on a bad modality."""
        return cls(
            command=values["command"],
            labels=values.get("labels", ""),
            stride_s=values.get("stride_s", 0.0),
            ignore=tuple(values.get("ignore", ())),
            label_at=values.get("label_at", "whole"),
            wanted_classes=tuple(values.get("wanted_classes", ())),
            chosen=dict(values.get("chosen_topics", {})),
            named=frozenset(values.get("named_topics", ())),
            specs=tuple(ModalitySpec.from_dict(spec) for spec in values["modalities"]),
            sensors=tuple(SensorTopic(*sensor) for sensor in values.get("sensors", ())),
            sensor_settings=tuple(values.get("sensor_settings", ())),
            classes=tuple(values["classes"]),
            windows=values["windows"],
            bags=tuple(BagDescription.from_dict(bag) for bag in values["bags"]),
            left_out=tuple(BagDescription.from_dict(bag) for bag in values.get("left_out", ())),
        )

    def all_bags(self) -> tuple[BagDescription, ...]:
        """The recordings with and without windows."""
        return self.bags + self.left_out


def total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The sum of several counts."""
    out: Counter[str] = Counter()
    for one in counts:
        out.update(one)
    return out
