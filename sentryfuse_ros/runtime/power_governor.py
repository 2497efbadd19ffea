"""How much of the model to switch off: from battery, power budget and latency to one pruning ratio.

``docs/POWER.md`` has the curve and every threshold. Times are seconds on any clock that does not go backwards;
where it does all the same, waiting times start anew.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from numbers import Real

from ..errors import ParameterError

RATIO_LIMIT = 0.9  # greatest pruning ratio there is (contract of the engine)
EPSILON = 1e-6  # a request this little above a level still means the level: ratios arrive as float32
OVERFULL = 1.1  # a fraction up to here is a full battery badly calibrated, not a percentage of 1.1 %
PERCENT_VOTES = 3  # readings above OVERFULL in a row before a source that spoke in fractions is read in percent
NEVER_HEARD = "no battery reading"
COMFORT = 0.9  # latency expected at the next lower level must be under this share of the target


@dataclass(frozen=True)
class GovernorConfig:
    """Thresholds of the governor. Raises ParameterError for values that cannot be."""

    # (battery fraction, ratio): straight lines between the points, constant outside; ratio falls as battery rises.
    curve: tuple[tuple[float, float], ...] = ((0.10, 0.9), (0.20, 0.7), (0.50, 0.3), (0.80, 0.0))
    battery_scale: str = "auto"  # "fraction" 0..1 (sensor_msgs/BatteryState), "percent" 0..100, or "auto"
    battery_hysteresis: float = 0.03  # battery must rise this far above the point where a level began to end it
    critical_fraction: float = 0.10  # at or below: highest level at once, dwell or not
    battery_timeout_s: float = 30.0  # silence that is mentioned; the last value keeps counting
    charging_ratio: float = 0.0  # what a charging battery asks for
    p_min_w: float = 0.0  # power drawn at the highest level [W]
    p_max_w: float = 0.0  # power drawn by the dense model [W]; 0: no budget is accepted
    budget_hysteresis_w: float = 0.0  # budget must rise this far to end a level; 0: 5 % of p_max_w - p_min_w
    target_p95_ms: float = 0.0  # latency target [ms]; 0: none
    dwell_s: float = 2.0  # least time between two changes

    def __post_init__(self) -> None:
        for name in ("battery_hysteresis", "critical_fraction"):
            _in_range(name, getattr(self, name), 0.0, 1.0)
        for name in ("battery_timeout_s", "p_min_w", "p_max_w", "budget_hysteresis_w", "target_p95_ms", "dwell_s"):
            _in_range(name, getattr(self, name), 0.0, 1e9)
        _in_range("charging_ratio", self.charging_ratio, 0.0, RATIO_LIMIT)
        if self.p_max_w and self.p_max_w <= self.p_min_w:
            raise ParameterError("p_max_w", self.p_max_w, f"more than p_min_w {self.p_min_w}", "measure both")
        if self.battery_scale not in ("auto", "fraction", "percent"):
            raise ParameterError("battery_scale", self.battery_scale, "auto, fraction or percent", "set battery_scale")
        if not self.curve:
            raise ParameterError("curve", "no points", "at least one (battery, ratio)", "set curve")
        for fraction, ratio in self.curve:
            _in_range("curve battery fraction", fraction, 0.0, 1.0)
            _in_range("curve ratio", ratio, 0.0, RATIO_LIMIT)
        ordered = tuple(sorted((float(f), float(r)) for f, r in self.curve))
        for (f0, r0), (f1, r1) in zip(ordered[:-1], ordered[1:], strict=True):
            if f0 == f1 or r1 > r0:
                seen, expected = f"({f0}, {r0}) then ({f1}, {r1})", "each battery once, ratio not rising with it"
                raise ParameterError("curve", seen, expected, "set curve")
        object.__setattr__(self, "curve", ordered)


@dataclass(frozen=True, slots=True)
class GovernorState:
    """What is asked for, what is in force, and why."""

    requested_ratio: float  # largest request, before hysteresis and levels, 0..0.9
    ratio: float  # in force, one of the levels
    reason: str
    battery_fraction: float  # last believable reading 0..1, NaN when there was none
    charging: bool
    budget_w: float  # NaN when none
    overridden: bool
    trouble: str = ""  # what was wrong with the readings, also part of reason


@dataclass(slots=True)
class _Request:
    """One wish: `up` makes the ratio rise, only `down` (at least as high) lets it fall. The space between holds."""

    up: float
    down: float
    text: str


@dataclass(slots=True)
class _Battery:
    """Last believable reading and the trouble since."""

    fraction: float = math.nan
    charging: bool = False
    heard_s: float | None = None
    trouble: str = ""
    percent: bool = False  # the source counts to 100
    votes: int = 0
    fraction_seen: bool = False


class PowerGovernor:
    """Battery, budget and latency in, one of `levels` out; the largest request wins. One thread at a time.

    levels: pruning ratios the engine has plans for, 0..0.9. A request is rounded up to the next level (a power budget
    is kept, not missed by half a step), or down to the highest where there is none. Raises ParameterError for levels
    out of range.
    """

    def __init__(self, config: GovernorConfig | None = None, levels: tuple[float, ...] = (0.0,)):
        self.config = config or GovernorConfig()
        if not len(levels):
            raise ParameterError("levels", "none", "at least one pruning ratio", "load a checkpoint that has levels")
        for level in levels:
            _in_range("levels", level, 0.0, RATIO_LIMIT)
        self.levels = tuple(sorted({float(level) for level in levels}))
        self._override: float | None = None
        self._battery = _Battery()
        self._budget_w, self._budget_trouble = math.nan, ""
        self.reset()

    def reset(self) -> None:
        """Forget level, latency and waiting times, as after a jump of time; battery, budget and override stay."""
        if self._battery.heard_s is not None:
            self._battery.heard_s = math.inf  # at a time of the clock before: the next update counts from itself
        self._latency_level, self._latency_text = 0, ""
        self._p95: tuple[float, float] | None = None  # newest unused reading: ms, when
        self._latency_changed_s = -math.inf
        self._level: int | None = None
        self._changed_s = -math.inf
        self._now_s = -math.inf

    def configure(self, **changes) -> None:
        """Change thresholds while running; readings and waiting times stay. Raises ParameterError."""
        self.config = replace(self.config, **changes)

    # ---- readings ---------------------------------------------------------------------------------------------

    def battery(self, percentage: float, charging: bool, now_s: float) -> None:
        """A sensor_msgs/BatteryState: percentage 0..1 (0..100 is understood), NaN or out of range when unknown."""
        b = self._battery
        b.heard_s, b.charging = now_s, bool(charging)
        fraction, b.trouble = self._read_battery(float(percentage))
        if fraction is not None:
            b.fraction = fraction

    def budget(self, watts: float, now_s: float) -> None:
        """A power budget [W], in force until the next; NaN withdraws it, negative or infinite ones are refused."""
        watts = float(watts)
        if math.isnan(watts):
            self._budget_w, self._budget_trouble = math.nan, ""
        elif not self.config.p_max_w:
            self._budget_trouble = f"power budget {watts:g} W ignored, p_max_w is not set"
        elif watts < 0 or math.isinf(watts):
            self._budget_trouble = f"power budget {watts:g} W refused"
        else:
            self._budget_w, self._budget_trouble = watts, ""

    def latency(self, p95_ms: float, now_s: float) -> None:
        """95th percentile of recent inference times [ms]; NaN is passed over. Used only with target_p95_ms.

        The window behind it should be shorter than dwell_s, or it still holds times of the level before.
        """
        if math.isfinite(p95_ms) and p95_ms >= 0:
            self._p95 = float(p95_ms), now_s

    def override(self, ratio: float | None) -> None:
        """Fix the ratio, at once and whatever battery, budget and latency ask; None ends it.

        Raises ParameterError for NaN or a ratio outside 0..0.9; the override before then stays.
        """
        if ratio is not None:
            _in_range("pruning_ratio_override", ratio, 0.0, RATIO_LIMIT)
        self._override = None if ratio is None else float(ratio)

    # ---- decision ---------------------------------------------------------------------------------------------

    def update(self, now_s: float) -> GovernorState:
        """Decide; call it about once a second or with every tick."""
        if now_s < self._now_s:  # the clock went back: waiting times would last for ever
            self._changed_s = min(self._changed_s, now_s)
            self._latency_changed_s = min(self._latency_changed_s, now_s)
        self._now_s = now_s
        if self._battery.heard_s is not None:
            self._battery.heard_s = min(self._battery.heard_s, now_s)
        battery, notes = self._battery_request(now_s)
        requests = [battery, self._budget_request(), self._latency_request(now_s)]
        requests = [request for request in requests if request is not None]
        if self._budget_trouble:
            notes.append(self._budget_trouble)
        winner = max(requests, key=lambda request: request.up, default=None)
        wanted = winner.up if winner else 0.0
        text = winner.text if winner else "nothing asks for pruning"
        if self._override is not None:
            self._level = self._level_of(self._override)
            self._changed_s = -math.inf  # when it ends, the request is followed at once
            text = f"override {self._override:.2f}; {text}"
        else:
            low = self._level_of(wanted)
            high = self._level_of(max((request.down for request in requests), default=0.0))
            text += self._move(low, high, now_s, urgent=self._critical(self._battery.fraction))
        return GovernorState(
            requested_ratio=wanted,
            ratio=self.levels[self._level],
            reason="; ".join([text, *notes]),
            battery_fraction=self._battery.fraction,
            charging=self._battery.charging,
            budget_w=self._budget_w,
            overridden=self._override is not None,
            trouble="; ".join(note for note in notes if note != NEVER_HEARD),
        )

    def _move(self, low: int, high: int, now_s: float, urgent: bool) -> str:
        """Bring the level into low..high where dwell allows; gives what to say of it."""
        if self._level is None:
            self._level, self._changed_s = low, now_s
            return ""
        target = min(max(self._level, low), high)
        if target == self._level:
            return "" if target == low else f", {self.levels[target]:.2f} kept by hysteresis"
        wait_s = self._changed_s + self.config.dwell_s - now_s
        if wait_s > 0 and not urgent:
            return f", {self.levels[self._level]:.2f} kept for {wait_s:.1f} s more by dwell"
        self._level, self._changed_s = target, now_s
        return ""

    def _level_of(self, ratio: float) -> int:
        return min(bisect_left(self.levels, ratio - EPSILON), len(self.levels) - 1)

    # ---- requests ---------------------------------------------------------------------------------------------

    def _read_battery(self, value: float) -> tuple[float | None, str]:
        """Fraction 0..1 or None, and what was wrong with the reading."""
        b, scale = self._battery, self.config.battery_scale
        if math.isnan(value):
            return None, "battery reads NaN"
        if value < 0 or value > 100 * OVERFULL or (scale == "fraction" and value > OVERFULL):
            return None, f"battery reads {value:g}, out of range"
        if scale == "auto" and not b.percent:
            if value <= OVERFULL:
                b.votes, b.fraction_seen = 0, True
                return min(value, 1.0), ""
            b.votes += 1
            if b.fraction_seen and b.votes < PERCENT_VOTES:
                return None, f"battery reads {value:g} after fractions"
            b.percent = True
        if scale == "percent" or b.percent:
            return min(value / 100, 1.0), ""
        return min(value, 1.0), ""

    def _critical(self, fraction: float) -> bool:
        return not self._battery_charges() and fraction <= self.config.critical_fraction

    def _battery_charges(self) -> bool:
        """Charging, and lately said so: a charger is not believed for longer than the battery is heard."""
        b = self._battery
        return b.charging and b.heard_s is not None and self._now_s - b.heard_s <= self.config.battery_timeout_s

    def _ratio_of(self, fraction: float) -> float:
        ratio = self._curve(fraction)
        return max(ratio, self.levels[-1]) if self._critical(fraction) else ratio

    def _curve(self, fraction: float) -> float:
        points = self.config.curve
        if fraction <= points[0][0]:
            return points[0][1]
        for (f0, r0), (f1, r1) in zip(points[:-1], points[1:], strict=True):
            if fraction <= f1:
                return r0 + (r1 - r0) * (fraction - f0) / (f1 - f0)
        return points[-1][1]

    def _battery_request(self, now_s: float) -> tuple[_Request | None, list[str]]:
        b, c = self._battery, self.config
        notes = [b.trouble] if b.trouble else []
        if b.heard_s is None:
            return None, [NEVER_HEARD]
        if now_s - b.heard_s > c.battery_timeout_s:
            notes.append(f"battery silent for {now_s - b.heard_s:.0f} s")
        if math.isnan(b.fraction) and not self._battery_charges():
            return None, notes
        known = "" if math.isnan(b.fraction) else f" {100 * b.fraction:.0f} %"
        if self._battery_charges():
            ratio = c.charging_ratio
            return _Request(ratio, ratio, f"battery{known} charging asks {ratio:.2f}"), notes
        up, down = self._ratio_of(b.fraction), self._ratio_of(b.fraction - c.battery_hysteresis)
        word = "critical battery" if self._critical(b.fraction) else "last battery" if notes else "battery"
        return _Request(up, max(up, down), f"{word}{known} asks {up:.2f}"), notes

    def _budget_request(self) -> _Request | None:
        if math.isnan(self._budget_w):
            return None
        span_w = self.config.p_max_w - self.config.p_min_w

        def ratio(watts: float) -> float:
            return self.levels[-1] * min(max((self.config.p_max_w - watts) / span_w, 0.0), 1.0)

        up = ratio(self._budget_w)
        down = ratio(self._budget_w - (self.config.budget_hysteresis_w or 0.05 * span_w))
        return _Request(up, down, f"power budget {self._budget_w:g} W asks {up:.2f}")

    def _latency_request(self, now_s: float) -> _Request | None:
        """One level more per dwell while over the target, one less where the next lower would keep it with ease."""
        target = self.config.target_p95_ms
        if not target:
            return None
        reading, self._p95 = self._p95, None
        fresh = reading is not None and reading[1] > max(self._changed_s, self._latency_changed_s)
        waited = now_s - max(self._changed_s, self._latency_changed_s) >= self.config.dwell_s
        if fresh and self._level is not None and self._override is None:
            p95 = reading[0]
            self._latency_text = f"p95 {p95:.1f} ms, target {target:.1f} ms"
            step = 0
            if p95 > target:
                step = min(self._level + 1, len(self.levels) - 1) - self._latency_level
            elif self._latency_level:
                # Time goes down less than FLOPs do, so this expects more of the lower level than it will take.
                left = (1 - self.levels[self._latency_level - 1]) / (1 - self.levels[self._level])
                step = -1 if p95 * left < COMFORT * target else 0
            if step and waited:
                self._latency_level += step
                self._latency_changed_s = now_s
        if not self._latency_text:
            return None
        ratio = self.levels[self._latency_level]
        return _Request(ratio, ratio, f"{self._latency_text} asks {ratio:.2f}")


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not (isinstance(value, Real) and math.isfinite(value) and low <= value <= high):
        raise ParameterError(name, value, f"a number {low:g}..{high:g}", f"set {name}")
