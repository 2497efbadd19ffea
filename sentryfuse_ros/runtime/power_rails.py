"""Power sensors of the computer as Linux shows them in /sys: hwmon (as an INA3221 on a Jetson) and RAPL (Intel, AMD)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import ParameterError

SYS = Path("/sys")
KINDS = ("hwmon", "rapl")


class PowerRail(Protocol):
    """One place at which power is measured."""

    name: str  # its label, e.g. VDD_IN or package-0

    def read_w(self, now_s: float) -> float:
        """Power drawn there [W]; NaN where it cannot be read now. ``now_s``: any steady clock."""
        ...


@dataclass
class HwmonRail:
    """A channel of hwmon: its power if the chip computes it, else voltage times current.

    Source: Documentation/hwmon/sysfs-interface.rst of the Linux kernel.
    """

    name: str
    power_uw: Path | None
    voltage_mv: Path
    current_ma: Path

    def read_w(self, now_s: float) -> float:
        if self.power_uw is not None:
            return _number(self.power_uw) * 1e-6
        return _number(self.voltage_mv) * _number(self.current_ma) * 1e-6


class RaplRail:
    """A zone of powercap, which counts energy: the power is the mean since the last reading."""

    def __init__(self, name: str, folder: Path):
        self.name = name
        self._energy_uj = folder / "energy_uj"
        self._range_uj = _number(folder / "max_energy_range_uj")
        self._last: tuple[float, float] | None = None  # energy [uJ] and time [s] of the last reading

    def read_w(self, now_s: float) -> float:
        energy_uj = _number(self._energy_uj)
        last, self._last = self._last, (energy_uj, now_s)
        if last is None or now_s <= last[1]:
            return math.nan
        used_uj = energy_uj - last[0]
        if used_uj < 0:  # the counter has wrapped around
            used_uj += self._range_uj
        return used_uj * 1e-6 / (now_s - last[1])


def power_rails(kind: str, sys: Path = SYS) -> list[PowerRail]:
    """All rails of a kind ("hwmon" or "rapl") on this machine that can be read."""
    found = _hwmon_rails(sys / "class" / "hwmon") if kind == "hwmon" else _rapl_rails(sys / "class" / "powercap")
    return list(found)


def power_rail(kind: str, name: str, sys: Path = SYS) -> PowerRail:
    """The rail of that name, or the first where the name is empty. Raises ParameterError that lists those that there are."""
    rails = power_rails(kind, sys)
    for rail in rails:
        if name in ("", rail.name):
            return rail
    seen = ", ".join(rail.name for rail in rails) or "none that this user may read"
    if name:
        raise ParameterError("parameter power_rail", repr(name), f"one of the rails of {kind}, which are {seen}")
    remedy = (
        "set it to battery or none"
        if kind == "hwmon"
        else "make /sys/class/powercap/*/energy_uj readable, or set it to battery or none"
    )
    raise ParameterError("parameter power_measurement", kind, f"a {kind} rail; there is {seen}", remedy)


def _hwmon_rails(folder: Path) -> Iterator[PowerRail]:
    for chip in sorted(folder.glob("hwmon*"), key=lambda path: int(path.name.removeprefix("hwmon") or 0)):
        for file in sorted(chip.glob("*_input")):
            match = re.fullmatch(r"(power|curr)(\d+)_input", file.name)
            if match is None or math.isnan(_number(file)):
                continue
            power, number = match[1] == "power", match[2]
            voltage = chip / f"in{number}_input"
            if not power and ((chip / f"power{number}_input").exists() or not voltage.exists()):
                continue
            label = _text(chip / f"{match[1]}{number}_label") or _text(chip / f"in{number}_label")
            name = label or f"{_text(chip / 'name') or chip.name} {number}"
            yield HwmonRail(name, file if power else None, voltage, file)


def _rapl_rails(folder: Path) -> Iterator[PowerRail]:
    for zone in sorted(folder.glob("*-rapl:*")):
        if not math.isnan(_number(zone / "energy_uj")):
            yield RaplRail(_text(zone / "name") or zone.name, zone)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _number(path: Path) -> float:
    try:
        return float(_text(path))
    except ValueError:
        return math.nan
