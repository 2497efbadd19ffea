"""Scripted sensor faults: a YAML list, and injectors that apply it to a stream of serialised messages.

The same injectors serve `sentryfuse replay` (bag time) and `fault_node` (live, between a sensor and the fuser).

    faults:
      - {sensor: camera, kind: "off", from: 4.0, to: 8.0}
    battery:            # seconds, percent; linear between
      - [0, 100]
      - [14, 10]
"""

from __future__ import annotations

import heapq
import math
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from ..errors import ParameterError

KINDS = {
    "off": "nothing is delivered",
    "freeze": "the last message from before is repeated at the sensor's rate with fresh stamps",
    "garbage": "payload bytes are random, the size stays (every fourth message is cut short as well)",
    "delay": "messages come by_s later, stamps unchanged",
    "slow": "only every nth message passes (keep_every)",
    "intermittent": "on and off in turn (period_s, on_share)",
}


@dataclass(frozen=True)
class Fault:
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
    """All faults of a run, and the battery curve: ((t_s, percent), ...), empty for none."""

    faults: tuple[Fault, ...] = ()
    battery: tuple[tuple[float, float], ...] = ()

    def battery_percent(self, t_s: float) -> float:
        """Linear between the points, flat outside; NaN without a curve."""
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
        return tuple(dict.fromkeys(f.sensor for f in self.faults))


def read_fault(entry: Any, where: str) -> Fault:
    """One fault from its mapping. Raises ParameterError naming what is wrong with it."""
    if not isinstance(entry, Mapping):
        raise ParameterError(where, repr(entry), "{sensor: NAME, kind: KIND, from: SECONDS, to: SECONDS}")
    entry = dict(entry)
    kind = entry.pop("kind", None)
    kind = "off" if kind is False else kind  # YAML 1.1 reads a bare off as false
    if kind not in KINDS:
        raise ParameterError(f"{where} kind", repr(kind), "one of " + ", ".join(KINDS))
    sensor = entry.pop("sensor", None)
    if not isinstance(sensor, str) or not sensor:
        raise ParameterError(f"{where} sensor", repr(sensor), "the name of a sensor instance")
    numbers = {"from_s": entry.pop("from", None), "to_s": entry.pop("to", None)}
    for name in ("by_s", "keep_every", "period_s", "on_share"):
        if name in entry:
            numbers[name] = entry.pop(name)
    if entry:
        raise ParameterError(
            where, "unknown " + ", ".join(map(str, entry)), "sensor, kind, from, to, by_s, keep_every, period_s, on_share"
        )
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise ParameterError(
                f"{where} {name.removesuffix('_s') if name in ('from_s', 'to_s') else name}",
                repr(value),
                "a number that is not negative",
            )
    fault = Fault(sensor, kind, **numbers)
    if fault.to_s <= fault.from_s:
        raise ParameterError(f"{where} to", fault.to_s, f"later than from {fault.from_s:g}")
    if fault.keep_every < 1 or fault.period_s <= 0 or not 0 <= fault.on_share <= 1:
        raise ParameterError(where, fault, "keep_every >= 1, period_s > 0, on_share 0 to 1")
    return fault


def read_script(path: str | Path) -> FaultScript:
    """A fault file. Raises ParameterError naming the file and the entry."""
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ParameterError(f"fault file {path}", error.strerror, "a readable YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"fault file {path}", str(error).split("\n")[0], "valid YAML") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, Mapping) or set(tree) - {"faults", "battery"}:
        raise ParameterError(
            f"fault file {path}", tree if not isinstance(tree, Mapping) else sorted(map(str, tree)), "the keys faults and battery"
        )
    faults = [read_fault(entry, f"fault file {path} faults[{i}]") for i, entry in enumerate(tree.get("faults") or [])]
    battery = []
    for i, point in enumerate(tree.get("battery") or []):
        good = (
            isinstance(point, (list, tuple))
            and len(point) == 2
            and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in point)
        )
        if not good or (battery and point[0] <= battery[-1][0]):
            raise ParameterError(f"fault file {path} battery[{i}]", repr(point), "[seconds, percent], seconds ascending")
        battery.append((float(point[0]), float(point[1])))
    return FaultScript(tuple(faults), tuple(battery))


# --- bytes -------------------------------------------------------------------------------------------------


def stamped(raw: bytes, stamp_ns: int) -> bytes:
    """A serialised message with another header stamp (XCDR1: sec int32 and nanosec uint32 behind the 4-byte header).

    Too short a message is returned as it is.
    """
    if len(raw) < 12:
        return raw
    order = "<" if raw[1] & 1 else ">"
    sec, nanosec = divmod(int(stamp_ns), 1_000_000_000)
    return raw[:4] + struct.pack(order + "iI", sec, nanosec) + raw[12:]


def stamp_of(raw: bytes) -> int:
    """Header stamp [ns] of a serialised message that begins with std_msgs/Header; 0 where it is too short."""
    if len(raw) < 12:
        return 0
    sec, nanosec = struct.unpack_from(("<" if raw[1] & 1 else ">") + "iI", raw, 4)
    return sec * 1_000_000_000 + nanosec


class Injector:
    """Applies the faults of one sensor to its messages. Times are seconds on one clock, never going back.

    `feed` takes a message, `due(t)` gives all messages that should be delivered up to t as (t_s, raw) in order.
    `stamp_at` turns a time into a header stamp [ns], for what a frozen driver repeats.
    """

    def __init__(self, faults: tuple[Fault, ...], stamp_at, period_s: float = 0.0, seed: int = 0):
        self.faults = sorted(faults, key=lambda f: f.from_s)
        self._stamp_at = stamp_at
        self._random = random.Random(seed)
        self._order = count()
        self._waiting: list[tuple[float, int, bytes]] = []
        self._last: bytes | None = None
        self._last_t: float | None = None
        self._period_s = period_s  # 0: measured from the messages before the fault
        self._repeated_to_s = -math.inf  # when a frozen driver last repeated itself
        self._thinned = 0
        self._garbled = 0

    def fault_at(self, t_s: float) -> Fault | None:
        return next((f for f in self.faults if f.active(t_s)), None)

    def _push(self, t_s: float, raw: bytes) -> None:
        heapq.heappush(self._waiting, (t_s, next(self._order), raw))

    def feed(self, t_s: float, raw: bytes) -> None:
        """One message of the sensor at t_s."""
        self._advance(t_s)
        fault = self.fault_at(t_s)
        if fault is None:
            if self._last_t is not None and 0 < t_s - self._last_t:
                step = t_s - self._last_t
                self._period_s = step if not self._period_s else min(self._period_s * 1.5, 0.9 * self._period_s + 0.1 * step)
            self._last, self._last_t = raw, t_s
            self._push(t_s, raw)
        elif fault.kind == "garbage":
            self._garbled += 1
            self._push(t_s, self._garble(raw))
        elif fault.kind == "delay":
            self._push(t_s + fault.by_s, raw)
        elif fault.kind == "slow":
            self._thinned += 1
            if self._thinned % fault.keep_every == 0:
                self._push(t_s, raw)
        elif fault.kind == "intermittent" and (t_s - fault.from_s) % fault.period_s < fault.on_share * fault.period_s:
            self._push(t_s, raw)

    def _garble(self, raw: bytes) -> bytes:
        head = min(len(raw), 12)  # encapsulation and stamp stay: what is broken is the payload
        broken = raw[:head] + self._random.randbytes(len(raw) - head)
        return broken[: max(head, len(broken) // 2)] if self._garbled % 4 == 0 else broken

    def _advance(self, t_s: float) -> None:
        """Emit what a frozen driver repeats up to t_s."""
        for fault in self.faults:
            if fault.kind != "freeze" or t_s < fault.from_s or fault.to_s <= self._repeated_to_s:
                continue
            if self._last is None or not self._period_s:
                continue  # nothing to repeat yet
            end_s = min(t_s, fault.to_s)
            due_s = max(fault.from_s, self._last_t + self._period_s, self._repeated_to_s + self._period_s)
            while due_s <= end_s and due_s < fault.to_s:
                self._push(due_s, stamped(self._last, self._stamp_at(due_s)))
                self._repeated_to_s = due_s
                due_s += self._period_s

    def due(self, t_s: float) -> list[tuple[float, bytes]]:
        """Messages to deliver up to t_s, oldest first."""
        self._advance(t_s)
        out = []
        while self._waiting and self._waiting[0][0] <= t_s:
            when, _, raw = heapq.heappop(self._waiting)
            out.append((when, raw))
        return out
