"""Everything that is known of one played run, for its table, pictures and report."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..bags.labels import Labels
from ..bags.run_description import RunDescription
from .faults import FaultScript
from .frames import Frame


@dataclass(frozen=True)
class PredictionRow:
    """One FusedPrediction as collected. Times are seconds since the recording began, `wall_s` is on the steady clock, which
    stands still while the recording's time waits."""

    t_s: float
    wall_s: float
    valid: bool
    reason: str
    class_name: str
    confidence: float
    mask: tuple[bool, ...]
    ratio: float
    inference_ms: float
    latency_ms: float
    overhead_ms: float
    sequence: int


class SensorStatus(NamedTuple):
    """What the node reported of one sensor at a tick."""

    state: str  # name of a `sensing.liveness.State`
    rate_hz: float
    reason: str
    asleep: bool = False  # live, but the plan in force has no use for it
    held: bool = False  # the plan in force takes a picture of it only now and then

    @property
    def rests(self) -> bool:
        """Whether the node looks at its topic less often than at every poll."""
        return self.asleep or self.held


NEVER_SEEN = SensorStatus("NEVER_SEEN", 0.0, "")


@dataclass(frozen=True)
class StatusRow:
    """The states of all sensors at one tick, by the sensor's name."""

    t_s: float
    states: Mapping[str, SensorStatus]

    def of(self, sensor: str) -> SensorStatus:
        """The status of a sensor; NEVER_SEEN if the node does not know it."""
        return self.states.get(sensor, NEVER_SEEN)


def never_ok(statuses: Sequence[StatusRow]) -> dict[str, str]:
    """The sensors that sent something and were never OK: the state that each had most often, with its latest reason."""
    found = {}
    for name in sorted({name for row in statuses for name in row.states}):
        seen = [row.of(name) for row in statuses]
        states = Counter(status.state for status in seen if status.state != NEVER_SEEN.state)
        if states and "OK" not in states:
            state = states.most_common(1)[0][0]
            found[name] = f"{state} ({next(status.reason for status in reversed(seen) if status.state == state)})"
    return found


@dataclass(frozen=True)
class PowerRow:
    """One PruningState as collected: battery as the node read it (NaN: unknown), ratio and cost in force."""

    t_s: float
    battery_percent: float
    ratio: float
    flops: int
    flops_dense: int
    reason: str = ""


class CaptionRow(NamedTuple):
    """One Caption as collected: what the robot said it perceives."""

    t_s: float
    text: str


class StreamRow(NamedTuple):
    """What the first stream of the model did with a picture: one StreamState as collected. It holds until the next."""

    t_s: float
    branch: str  # reuse, light or full
    tokens: float  # share of the picture's tokens that were encoded anew
    change: float  # above 1 counts as changed; NaN where nothing was compared
    flops_share: float  # of encoding it whole
    moving: bool  # whether the camera counts as moving


@dataclass(frozen=True)
class ModelFacts:
    """What the node published about its model. ``window_s`` is the longest window of its inputs."""

    name: str = ""
    modalities: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    window_s: float = 0.0
    parameters: int = 0
    trained_on: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class RunRecord:
    """A run of `end_s` seconds.

    ``labels`` count from the start of the recording and are None if the truth is not known. ``description`` is the
    recording's run.json, if it has one. ``camera`` is the sensor that the ``frames`` are from.
    """

    bag: str
    predictions: Sequence[PredictionRow]
    statuses: Sequence[StatusRow]
    script: FaultScript
    end_s: float
    power: Sequence[PowerRow] = ()
    labels: Labels | None = None
    model: ModelFacts = ModelFacts()
    frames: Sequence[Frame] = ()
    camera: str = ""
    description: RunDescription | None = None
    environment: str = ""
    captions: Sequence[CaptionRow] = ()
    streams: Sequence[StreamRow] = ()

    def sensors(self) -> list[str]:
        """The sensors in the order of the model's inputs; those that never sent anything come last."""
        names = sorted({name for row in self.statuses for name in row.states})
        order = {name: i for i, name in enumerate(self.model.modalities)}
        return sorted(names, key=lambda n: (self.is_silent(n), order.get(n, len(order)), n))

    def is_silent(self, sensor: str) -> bool:
        """Whether a sensor never sent anything during the run."""
        return all(row.of(sensor).state == NEVER_SEEN.state for row in self.statuses)

    def battery_percent(self, t_s: float) -> float:
        """The charge that the node had read last, otherwise the one in the script's curve; NaN if there is neither."""
        i = bisect_right(self.power, t_s, key=lambda row: row.t_s) - 1
        read = self.power[i].battery_percent if i >= 0 else math.nan
        return self.script.battery_percent(t_s) if math.isnan(read) else read

    def stream(self, t_s: float) -> StreamRow | None:
        """What the model's stream did last at a time; None without one."""
        i = bisect_right(self.streams, t_s, key=lambda row: row.t_s) - 1
        return self.streams[i] if i >= 0 else None
