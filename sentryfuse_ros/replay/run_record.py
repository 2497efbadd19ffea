"""Everything that is known of one played run, for its table, pictures and report."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .faults import FaultScript
from .frames import Frame
from .judge import PredictionRow, StatusRow
from .truth import Labels

ABOUT_FILE = "run.json"


@dataclass(frozen=True)
class PowerRow:
    """One PruningState as collected: battery as the node read it (NaN: unknown), ratio and cost in force."""

    t_s: float
    battery_percent: float
    ratio: float
    flops: int
    flops_dense: int
    reason: str = ""


@dataclass(frozen=True)
class ModelFacts:
    """What the node said of its model. ``window_s`` is the longest of its inputs' windows."""

    name: str = ""
    modalities: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    window_s: float = 0.0
    parameters: int = 0
    trained_on: str = ""
    sha256: str = ""


@dataclass
class RunRecord:
    """A run of `end_s` seconds. ``labels`` is None where the truth is not known; ``about`` is the recording's run.json."""

    bag: str
    predictions: Sequence[PredictionRow]
    statuses: Sequence[StatusRow]
    script: FaultScript
    end_s: float
    power: Sequence[PowerRow] = ()
    labels: Labels | None = None
    model: ModelFacts = ModelFacts()
    frames: Sequence[Frame] = ()
    camera: str = ""  # the sensor that the frames are from
    about: dict[str, Any] = field(default_factory=dict)
    environment: str = ""

    def sensors(self) -> list[str]:
        """Sensors in the order of the model's inputs, those that never sent anything last."""
        names = sorted({name for row in self.statuses for name in row.states})
        order = {name: i for i, name in enumerate(self.model.modalities)}
        return sorted(names, key=lambda n: (self.silent(n), order.get(n, len(order)), n))

    def silent(self, sensor: str) -> bool:
        """It never sent anything."""
        return all(row.states.get(sensor, ("NEVER_SEEN",))[0] == "NEVER_SEEN" for row in self.statuses)

    def battery_percent(self, t_s: float) -> float:
        """What the node knew of the battery, else the script's curve; NaN where there is neither."""
        i = bisect_right(self.power, t_s, key=lambda row: row.t_s) - 1
        seen = self.power[i].battery_percent if i >= 0 else math.nan
        return self.script.battery_percent(t_s) if math.isnan(seen) else seen


def read_about(bag: Path) -> dict[str, Any]:
    """What a simulated recording says of itself (run.json beside it); empty for any other."""
    try:
        about = json.loads(((bag if bag.is_dir() else bag.parent) / ABOUT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
