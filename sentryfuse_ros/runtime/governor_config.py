"""Thresholds of the power governor, checked, and how the node's parameters become them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from ..errors import ParameterError
from ..settings import Settings

RATIO_LIMIT = 0.9  # The highest pruning ratio that the engine knows.
BATTERY_SCALES = ("auto", "fraction", "percent")


@dataclass(frozen=True)
class GovernorConfig:
    """Thresholds of the governor; docs/POWER.md explains each. Raises ParameterError for a value out of range."""

    # (battery fraction, ratio) points, joined by straight lines, constant outside; the ratio falls as the battery rises.
    curve: tuple[tuple[float, float], ...] = ((0.10, 0.9), (0.20, 0.7), (0.50, 0.3), (0.80, 0.0))
    battery_scale: str = "auto"  # "fraction" 0..1 (sensor_msgs/BatteryState), "percent" 0..100, or "auto"
    battery_hysteresis: float = 0.03  # The charge must exceed the switching point by this much before the ratio drops.
    critical_fraction: float = 0.10  # At or below this charge the highest level applies at once, without dwell.
    battery_timeout_s: float = 30.0  # A silence longer than this is reported; the last value stays in force.
    charging_ratio: float = 0.0  # The ratio that a charging battery asks for.
    p_min_w: float = 0.0  # Power drawn at the highest level [W].
    p_max_w: float = 0.0  # Power drawn by the dense model [W]; at 0 no power budget is accepted.
    budget_hysteresis_w: float = 0.0  # The budget must rise by this much before the ratio drops; 0: 5 % of the range.
    target_p95_ms: float = 0.0  # Latency target [ms]; 0 switches it off.
    dwell_s: float = 2.0  # Shortest time between two changes of the ratio.

    def __post_init__(self) -> None:
        for name in ("battery_hysteresis", "critical_fraction"):
            check_range(name, getattr(self, name), 0.0, 1.0)
        for name in ("battery_timeout_s", "p_min_w", "p_max_w", "budget_hysteresis_w", "target_p95_ms", "dwell_s"):
            check_range(name, getattr(self, name), 0.0, 1e9)
        check_range("charging_ratio", self.charging_ratio, 0.0, RATIO_LIMIT)
        if self.p_max_w and self.p_max_w <= self.p_min_w:
            raise ParameterError(
                "power_budget_max_w", self.p_max_w, f"more than power_budget_min_w {self.p_min_w}", "measure both on the robot"
            )
        if self.battery_scale not in BATTERY_SCALES:
            raise ParameterError("battery_scale", self.battery_scale, "auto, fraction or percent", "set battery_scale")
        if not self.curve:
            raise ParameterError("battery curve", "no points", "at least one (battery, ratio)", "set battery_curve_percent")
        for fraction, ratio in self.curve:
            check_range("curve battery fraction", fraction, 0.0, 1.0)
            check_range("curve ratio", ratio, 0.0, RATIO_LIMIT)
        ordered = tuple(sorted((float(f), float(r)) for f, r in self.curve))
        for (f0, r0), (f1, r1) in zip(ordered[:-1], ordered[1:], strict=True):
            if f0 == f1 or r1 > r0:
                seen = f"({f0}, {r0}) then ({f1}, {r1})"
                raise ParameterError(
                    "battery curve",
                    f"(battery, ratio) {seen}",
                    "each battery level once, and no ratio that rises with the battery",
                    "set battery_curve_percent and battery_curve_ratio",
                )
        object.__setattr__(self, "curve", ordered)

    @classmethod
    def from_settings(cls, settings: Settings) -> GovernorConfig:
        """The power parameters of a node. Raises ParameterError."""
        percents, ratios = settings["battery_curve_percent"], settings["battery_curve_ratio"]
        if len(percents) != len(ratios):
            raise ParameterError(
                "parameter battery_curve_ratio",
                f"{len(ratios)} values",
                f"{len(percents)}, one for each of battery_curve_percent",
            )
        return cls(
            curve=tuple((percent / 100, ratio) for percent, ratio in zip(percents, ratios, strict=True)),
            battery_scale=settings["battery_scale"],
            battery_hysteresis=settings["battery_hysteresis_percent"] / 100,
            critical_fraction=settings["battery_critical_percent"] / 100,
            battery_timeout_s=settings["battery_timeout_s"],
            charging_ratio=settings["charging_ratio"],
            p_min_w=settings["power_budget_min_w"],
            p_max_w=settings["power_budget_max_w"],
            target_p95_ms=settings["latency_target_ms"],
            dwell_s=settings["dwell_s"],
        )


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises ParameterError unless ``value`` is a finite number from ``low`` to ``high``."""
    if not (isinstance(value, Real) and math.isfinite(value) and low <= value <= high):
        raise ParameterError(name, value, f"a number {low:g}..{high:g}", f"set {name}")
