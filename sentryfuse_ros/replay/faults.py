"""Scripted sensor faults and a battery curve, read from a YAML file. `injector.Injector` applies them to messages.

faults:
  - {sensor: camera, kind: "off", from: 4.0, to: 8.0}
battery:            # seconds, percent; linear between
  - [0, 100]
  - [14, 10]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import ParameterError
from ..yaml_files import load_yaml

FAULT_KINDS = {
    "off": "nothing is delivered",
    "freeze": "the last message from before the fault is repeated at the sensor's rate with fresh stamps",
    "garbage": "payload bytes are random, the size stays the same (every fourth message is also truncated)",
    "delay": "messages arrive by_s seconds later, with unchanged stamps",
    "slow": "only every n-th message passes (keep_every)",
    "intermittent": "messages pass and are dropped in turn (period_s, on_share)",
    "corrupt": "in every message one to three bytes of the payload are random",
    "lie": "messages can be read, but their content is wrong (IMU: accelerations in g; camera: red and blue exchanged; LiDAR: "
    "feet for metres; sound: random bytes)",
    "burst": "messages are held back and handed over together every period_s, with unchanged stamps",
}


@dataclass(frozen=True)
class InjectedFault:
    """One fault of one sensor, active for from_s <= t < to_s (seconds since the recording began)."""

    sensor: str
    kind: str
    from_s: float
    to_s: float
    by_s: float = 0.5
    keep_every: int = 5
    period_s: float = 1.0
    on_share: float = 0.5

    def active(self, t_s: float) -> bool:
        return self.from_s <= t_s < self.to_s

    def describe(self) -> str:
        return f"{self.sensor} {self.kind} {self.from_s:g}-{self.to_s:g} s"


@dataclass(frozen=True)
class FaultScript:
    """All faults of a run, and the battery curve as points (t_s, percent); no points mean no curve."""

    faults: tuple[InjectedFault, ...] = ()
    battery: tuple[tuple[float, float], ...] = ()

    def battery_percent(self, t_s: float) -> float:
        """The charge [%] at a time: linear between the points, constant outside them; NaN without a curve."""
        if not self.battery:
            return math.nan
        points = self.battery
        if t_s <= points[0][0]:
            return points[0][1]
        for (t0, p0), (t1, p1) in zip(points, points[1:], strict=False):
            if t_s <= t1:
                return p0 + (p1 - p0) * (t_s - t0) / (t1 - t0)
        return points[-1][1]

    def sensors(self) -> tuple[str, ...]:
        """The sensors that have a fault, each once."""
        return tuple(dict.fromkeys(f.sensor for f in self.faults))


_OPTIONS = tuple(f.name for f in fields(InjectedFault) if f.name not in ("sensor", "kind", "from_s", "to_s"))


def read_fault(entry: object, where: str) -> InjectedFault:
    """One fault from its mapping. Raises ParameterError naming ``where`` and what is wrong."""
    if not isinstance(entry, Mapping):
        raise ParameterError(where, repr(entry), "{sensor: NAME, kind: KIND, from: SECONDS, to: SECONDS}")
    entry = dict(entry)
    kind = entry.pop("kind", None)
    kind = "off" if kind is False else kind  # YAML 1.1 reads a bare off as false
    if kind not in FAULT_KINDS:
        raise ParameterError(f"{where} kind", repr(kind), "one of " + ", ".join(FAULT_KINDS))
    sensor = entry.pop("sensor", None)
    if not isinstance(sensor, str) or not sensor:
        raise ParameterError(f"{where} sensor", repr(sensor), "the name of a sensor instance")
    values = {"from_s": entry.pop("from", None), "to_s": entry.pop("to", None)}
    values |= {name: entry.pop(name) for name in _OPTIONS if name in entry}
    if entry:
        raise ParameterError(where, "unknown " + ", ".join(map(str, entry)), ", ".join(("sensor, kind, from, to", *_OPTIONS)))
    for name, value in values.items():
        if not _is_number(value) or value < 0:
            shown = name.removesuffix("_s") if name in ("from_s", "to_s") else name
            raise ParameterError(f"{where} {shown}", repr(value), "a number that is not negative")
    fault = InjectedFault(sensor, kind, **values)
    if fault.to_s <= fault.from_s:
        raise ParameterError(f"{where} to", fault.to_s, f"later than from {fault.from_s:g}")
    for name, good, expected in (
        ("keep_every", fault.keep_every >= 1 and fault.keep_every == int(fault.keep_every), "a whole number, 1 or more"),
        ("period_s", fault.period_s > 0, "a number above 0"),
        ("on_share", fault.on_share <= 1, "0 to 1"),
    ):
        if not good:
            raise ParameterError(f"{where} {name}", values[name], expected)
    return fault


def _is_number(value: object) -> bool:
    """Whether a value is a finite number, and not too large for a float."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def read_script(path: str | Path) -> FaultScript:
    """Read a fault file. Raises ParameterError naming the file and the entry."""
    tree = load_yaml(path, "fault file")
    tree = {} if tree is None else tree
    if not isinstance(tree, Mapping) or set(tree) - {"faults", "battery"}:
        raise ParameterError(
            f"fault file {path}", tree if not isinstance(tree, Mapping) else sorted(map(str, tree)), "the keys faults and battery"
        )
    for key in ("faults", "battery"):
        if not isinstance(tree.get(key) or [], list):
            raise ParameterError(f"fault file {path} {key}", repr(tree[key]), "a list", "begin each of its lines with '-'")
    faults = [read_fault(entry, f"fault file {path} faults[{i}]") for i, entry in enumerate(tree.get("faults") or [])]
    battery: list[tuple[float, float]] = []
    for i, point in enumerate(tree.get("battery") or []):
        good = isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))
        if not good or (battery and point[0] <= battery[-1][0]):
            raise ParameterError(f"fault file {path} battery[{i}]", repr(point), "[seconds, percent], seconds ascending")
        battery.append((float(point[0]), float(point[1])))
    return FaultScript(tuple(faults), tuple(battery))
