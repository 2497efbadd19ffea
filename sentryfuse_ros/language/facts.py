"""What a sentence can state about a moment: ground, motion, conditions, and which sensors it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

# What a sensor does, as far as a sentence tells it apart. "used": it is live, and the prediction is made from it.
USED, RESTING = "used", "resting"
SENSOR_STATES = (USED, RESTING, "silent", "frozen", "invalid", "late", "missing", "off", "recovering")
CONDITIONS = ("darkness", "fog", "mud", "dust", "wind", "vibration")  # nuisances of a drive, each there or not
SPEEDS = ("slow", "medium", "fast")
TURNS = ("left", "right")


class Statement(NamedTuple):
    """One fact that a sentence states, for instance ("ahead", "grass") or ("sensor", "camera", "frozen")."""

    kind: str  # ground, change, ahead, speed, turn, condition, sensor, rests
    value: str  # for a change the ground that was left, for a sensor its name, for rests the sensors in alphabetical order
    detail: str = ""  # for a change the ground that was reached, for a sensor its state


@dataclass(frozen=True)
class Facts:
    """What there is to say. ``left`` is the ground that was left a moment ago, ``ahead`` another ground that is near; "" if
    none."""

    ground: str
    left: str = ""
    ahead: str = ""
    speed: str = ""
    turn: str = ""
    conditions: frozenset[str] = frozenset()
    sensors: Mapping[str, str] = field(default_factory=dict)  # name of the model input -> one of SENSOR_STATES

    @property
    def used(self) -> tuple[str, ...]:
        """The sensors that the sentence rests on."""
        return tuple(name for name, state in self.sensors.items() if state == USED)

    def with_sensors(self, sensors: Mapping[str, str]) -> Facts:
        """The same facts with other states of the sensors."""
        return replace(self, sensors=dict(sensors))

    def statements(self) -> list[Statement]:
        """All of it as statements. A change is one statement, which says the ground too."""
        found = [Statement("change", self.left, self.ground) if self.left else Statement("ground", self.ground)]
        found += [
            Statement(kind, value) for kind, value in (("ahead", self.ahead), ("speed", self.speed), ("turn", self.turn)) if value
        ]
        found += [Statement("condition", name) for name in CONDITIONS if name in self.conditions]
        found += sensor_statements(self.sensors)
        return found


def sensor_statements(sensors: Mapping[str, str]) -> list[Statement]:
    """What there is to say of the sensors: each one that is not used and, where there is such a one, those that are."""
    odd = [Statement("sensor", name, state) for name, state in sensors.items() if state != USED]
    used = sorted(name for name, state in sensors.items() if state == USED)
    return [*odd, Statement("rests", " ".join(used))] if odd and used else odd


@dataclass(frozen=True)
class Truth:
    """The facts of a moment, and what else counts as true of it, since words are vaguer than numbers.

    grounds: those under any of the wheels. changes: (left, reached). Near a threshold both words are true. A sensor has one
    state.
    """

    facts: Facts
    grounds: frozenset[str]
    changes: frozenset[tuple[str, str]]
    aheads: frozenset[str]
    speeds: frozenset[str]
    turns: frozenset[str]

    def with_sensors(self, sensors: Mapping[str, str]) -> Truth:
        """The same moment with other states of the sensors."""
        return replace(self, facts=self.facts.with_sensors(sensors))

    def allows(self, statement: Statement) -> bool:
        """Whether a statement is true."""
        kind, value, detail = statement
        if kind == "change":
            return (value, detail) in self.changes
        if kind == "condition":
            return value in self.facts.conditions
        if kind == "sensor":
            return self.facts.sensors.get(value) == detail
        if kind == "rests":
            return value.split() == sorted(self.facts.used)
        true = {"ground": self.grounds, "ahead": self.aheads, "speed": self.speeds, "turn": self.turns}
        return value in true.get(kind, ())
