"""How much of the model to switch off: battery, power budget and latency become one pruning ratio.

``docs/POWER.md`` has the curve and every threshold. Times are seconds on any clock that does not go backwards;
if it does go back, waiting times start anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import ParameterError
from ..pruning.levels import level_index
from .battery_packs import BatteryPacks
from .battery_reading import NEVER_HEARD
from .governor_config import RATIO_LIMIT, GovernorConfig, check_range
from .power_loop import PowerLoop

COMFORT = 0.9  # The latency expected at the next lower level must stay under this share of the target.
# A step to a lower level that had to be taken back within FAILED_S is tried again only after that time, which doubles with every
# failure up to MOST_DOUBLINGS times, or once the latency has fallen below EASED of what it was before the step.
FAILED_S, EASED = 60.0, 0.8
MOST_DOUBLINGS = 6


@dataclass(frozen=True, slots=True)
class GovernorState:
    """What is asked for, what is in force, and why."""

    requested_ratio: float  # the largest request, before hysteresis and levels, 0..0.9
    ratio: float  # in force, one of the levels
    reason: str
    battery_fraction: float  # last believable reading 0..1, NaN when there was none
    charging: bool
    budget_w: float  # NaN without a budget
    power_w: float  # measured, NaN where it is not
    overridden: bool
    trouble: str = ""  # what was wrong with the readings, also part of reason


class _Request(NamedTuple):
    """One request: `up` makes the ratio rise, only `down` (at least as high) lets it fall, the space between holds it."""

    up: float
    down: float
    text: str


class _LatencyReading(NamedTuple):
    p95_ms: float
    at_s: float


class _StepDown(NamedTuple):
    """A step to a lower level because of a low latency."""

    level: int  # that it led to
    p95_ms: float  # before it
    at_s: float


class PowerGovernor:
    """Takes battery, budget and latency, and decides on one of `levels`; the largest request wins. One thread at a time.

    levels: pruning ratios the engine has plans for, 0..0.9. A request is rounded up to the next level (so that a power
    budget is kept), and a request above the highest level gets the highest. Raises ParameterError for levels out of range.
    """

    def __init__(self, config: GovernorConfig | None = None, levels: tuple[float, ...] = (0.0,), measures_power: bool = False):
        """``measures_power``: a power budget is held by `measured_power` and not by the line between two guesses."""
        self.config = config or GovernorConfig()
        if not len(levels):
            raise ParameterError("levels", "none", "at least one pruning ratio", "load a checkpoint that has levels")
        for level in levels:
            check_range("levels", level, 0.0, RATIO_LIMIT)
        self.levels = tuple(sorted({float(level) for level in levels}))
        self._override: float | None = None
        self._battery = BatteryPacks()
        self._budget_w, self._budget_trouble = math.nan, ""
        self._loop = PowerLoop(self.levels, self.config.p_max_w - self.config.p_min_w) if measures_power else None
        self.reset()

    def reset(self) -> None:
        """Forget level, latency and waiting times, as after a jump of time; battery, budget and override stay."""
        self._battery.forget_time()
        if self._loop is not None:
            self._loop.reset()
        self._forget_latency()
        self._level: int | None = None  # None until the first decision
        self._changed_s = -math.inf
        self._now_s = -math.inf

    def _forget_latency(self) -> None:
        self._latency_level, self._latency_text = 0, ""
        self._p95: _LatencyReading | None = None  # the newest that no decision has used yet
        self._latency_changed_s = -math.inf
        self._forget_steps()

    def _forget_steps(self) -> None:
        self._down: _StepDown | None = None  # the newest
        self._failed: _StepDown | None = None  # the newest that had to be taken back
        self._failures = 0  # in a row, of that step

    def configure(self, config: GovernorConfig) -> None:
        """Change thresholds while running; readings and waiting times stay. Without a latency target its level is forgotten."""
        if not config.target_p95_ms:
            self._forget_latency()
        elif config.target_p95_ms != self.config.target_p95_ms:
            self._forget_steps()
        self.config = config

    # ---- readings ---------------------------------------------------------------------------------------------

    def battery(self, percentage: float, charging: bool, now_s: float, pack: str = "", filled: bool = True) -> None:
        """A sensor_msgs/BatteryState: percentage 0..1 (0..100 is understood), NaN or out of range when unknown.

        pack: name of the pack where several publish, of which the lowest counts. filled: False where the driver left the
        message empty.
        """
        self._battery.read(percentage, charging, now_s, self.config.battery_scale, pack, filled)

    def budget(self, watts: float) -> None:
        """A power budget [W], in force until the next; NaN withdraws it, a negative or infinite one is refused."""
        watts = float(watts)
        if math.isnan(watts):
            self._budget_w, self._budget_trouble = math.nan, ""
        elif not self.config.p_max_w:
            self._budget_trouble = f"power budget {watts:g} W ignored, because power_budget_max_w is 0"
        elif watts < 0 or math.isinf(watts):
            self._budget_trouble = f"power budget {watts:g} W refused"
        else:
            self._budget_w, self._budget_trouble = watts, ""

    def measured_power(self, watts: float, now_s: float) -> None:
        """The power that the budget limits, as measured [W]; ignored where it is not a finite number."""
        if self._loop is not None:
            self._loop.measure(watts, now_s)

    def latency(self, p95_ms: float, now_s: float) -> None:
        """95th percentile of recent inference times [ms]; NaN is ignored. Used only with target_p95_ms.

        The percentile should cover less time than dwell_s, or it still holds times of the level before.
        """
        if math.isfinite(p95_ms) and p95_ms >= 0:
            self._p95 = _LatencyReading(float(p95_ms), now_s)

    def override(self, ratio: float | None) -> None:
        """Fix the ratio at once, whatever battery, budget and latency ask for; None ends the override.

        Raises ParameterError for NaN or a ratio outside 0..0.9; the previous override then stays in force.
        """
        if ratio is not None:
            check_range("pruning_ratio_override", ratio, 0.0, RATIO_LIMIT)
        self._override = None if ratio is None else float(ratio)

    # ---- decision ---------------------------------------------------------------------------------------------

    def update(self, now_s: float) -> GovernorState:
        """Decide; call it about once a second or with every tick."""
        if now_s < self._now_s:  # the clock went back: without this, waiting times would last for ever
            self._changed_s = min(self._changed_s, now_s)
            self._latency_changed_s = min(self._latency_changed_s, now_s)
            self._forget_steps()
        self._now_s = now_s
        self._battery.follow_clock(now_s, self.config.battery_timeout_s)
        notes = self._battery.notes(now_s, self.config.battery_timeout_s)
        asked = (self._battery_request(now_s, bool(notes)), self._budget_request(now_s), self._latency_request(now_s))
        requests = [request for request in asked if request is not None]
        if self._budget_trouble:
            notes.append(self._budget_trouble)
        if self._loop is not None and not math.isnan(self._budget_w) and self._loop.silent(now_s):
            notes.append("no power measured, so the budget is followed by power_budget_min_w and power_budget_max_w")
        winner = max(requests, key=lambda request: request.up, default=_Request(0.0, 0.0, "nothing asks for pruning"))
        text = winner.text
        if self._override is not None:
            level = level_index(self._override, self.levels)
            self._level, self._changed_s = level, -math.inf  # when it ends, the request is followed at once
            text = f"override {self._override:.2f}; {text}"
        else:
            low = level_index(winner.up, self.levels)
            high = level_index(max((request.down for request in requests), default=0.0), self.levels)
            level, remark = self._move(low, high, now_s, urgent=self._critical(self._battery.fraction, now_s))
            text += remark
        return GovernorState(
            requested_ratio=winner.up,
            ratio=self.levels[level],
            reason="; ".join([text, *notes]),
            battery_fraction=self._battery.fraction,
            charging=self._battery.charging,
            budget_w=self._budget_w,
            power_w=math.nan if self._loop is None else self._loop.power_w(now_s),
            overridden=self._override is not None,
            trouble="; ".join(note for note in notes if note != NEVER_HEARD),
        )

    def _move(self, low: int, high: int, now_s: float, urgent: bool) -> tuple[int, str]:
        """Bring the level into low..high where dwell allows; returns the level and what to add to the reason."""
        if self._level is None:
            self._level, self._changed_s = low, now_s
            return low, ""
        target = min(max(self._level, low), high)
        if target == self._level:
            return target, "" if target == low else f", {self.levels[target]:.2f} kept by hysteresis"
        wait_s = self._changed_s + self.config.dwell_s - now_s
        if wait_s > 0 and not urgent:
            return self._level, f", {self.levels[self._level]:.2f} kept for {wait_s:.1f} s more by dwell"
        self._level, self._changed_s = target, now_s
        return target, ""

    # ---- requests ---------------------------------------------------------------------------------------------

    def _battery_request(self, now_s: float, doubtful: bool) -> _Request | None:
        """``doubtful``: the newest reading was impossible or is long ago."""
        fraction = self._battery.fraction
        charges = self._battery.charges(now_s, self.config.battery_timeout_s)
        if math.isnan(fraction) and not charges:
            return None
        known = "" if math.isnan(fraction) else f" {100 * fraction:.0f} %"
        if len(self._battery) > 1:
            known += f" (lowest of {len(self._battery)} packs)"
        if charges:
            ratio = self.config.charging_ratio
            return _Request(ratio, ratio, f"battery{known} charging asks {ratio:.2f}")
        up = self._ratio_of(fraction, now_s)
        down = self._ratio_of(fraction - self.config.battery_hysteresis, now_s)
        word = "critical battery" if self._critical(fraction, now_s) else "last battery" if doubtful else "battery"
        return _Request(up, max(up, down), f"{word}{known} asks {up:.2f}")

    def _critical(self, fraction: float, now_s: float) -> bool:
        charges = self._battery.charges(now_s, self.config.battery_timeout_s)
        return not charges and fraction <= self.config.critical_fraction

    def _ratio_of(self, fraction: float, now_s: float) -> float:
        ratio = self._curve(fraction)
        return max(ratio, self.levels[-1]) if self._critical(fraction, now_s) else ratio

    def _curve(self, fraction: float) -> float:
        points = self.config.curve
        if fraction <= points[0][0]:
            return points[0][1]
        for (f0, r0), (f1, r1) in zip(points[:-1], points[1:], strict=True):
            if fraction <= f1:
                return r0 + (r1 - r0) * (fraction - f0) / (f1 - f0)
        return points[-1][1]

    def _budget_request(self, now_s: float) -> _Request | None:
        if math.isnan(self._budget_w):
            return None
        if self._loop is not None and self._level is not None:
            wanted = self._loop.wanted(self._budget_w, self._level, now_s)
            if wanted is not None:
                asked = self.levels[wanted.level]
                return _Request(asked, asked, f"{wanted.power_w:.1f} W of a budget of {self._budget_w:g} W asks {asked:.2f}")
        span_w = self.config.p_max_w - self.config.p_min_w

        def ratio(watts: float) -> float:
            return self.levels[-1] * min(max((self.config.p_max_w - watts) / span_w, 0.0), 1.0)

        up = ratio(self._budget_w)
        down = ratio(self._budget_w - (self.config.budget_hysteresis_w or 0.05 * span_w))
        return _Request(up, down, f"power budget {self._budget_w:g} W asks {up:.2f}")

    def _latency_request(self, now_s: float) -> _Request | None:
        """One level more per dwell while over the target, one less where the next lower level would easily keep it."""
        target = self.config.target_p95_ms
        if not target:
            return None
        reading, self._p95 = self._p95, None
        changed_s = max(self._changed_s, self._latency_changed_s)
        waited = now_s - changed_s >= self.config.dwell_s
        if reading is not None and reading.at_s > changed_s and self._level is not None and self._override is None:
            p95 = reading.p95_ms
            self._latency_text = f"p95 {p95:.1f} ms, target {target:.1f} ms"
            step = 0
            if p95 > target:
                step = min(self._level + 1, len(self.levels) - 1) - self._latency_level
            elif self._latency_level:
                # Mostly more time than the lower level takes. Where a plan saves far more than its ratio asks for, it is less.
                left = (1 - self.levels[self._latency_level - 1]) / (1 - self.levels[self._level])
                step = -1 if p95 * left < COMFORT * target and not self._in_vain(p95, now_s) else 0
            if step and waited:
                self._note_step(step, p95, now_s)
                self._latency_level += step
                self._latency_changed_s = now_s
        if not self._latency_text:
            return None
        ratio = self.levels[self._latency_level]
        return _Request(ratio, ratio, f"{self._latency_text} asks {ratio:.2f}")

    def _note_step(self, step: int, p95_ms: float, now_s: float) -> None:
        """Remember a step down, and that the one before has failed if this one takes it back."""
        down, self._down = self._down, None
        if step < 0:
            self._down = _StepDown(self._latency_level - 1, p95_ms, now_s)
        elif down is not None and down.level == self._level and now_s - down.at_s < FAILED_S:
            again = self._failed is not None and self._failed.level == down.level
            self._failed, self._failures = down, self._failures + 1 if again else 1

    def _in_vain(self, p95_ms: float, now_s: float) -> bool:
        """Whether the step to the next lower level would fail as it did before."""
        failed = self._failed
        if failed is None or failed.level != self._latency_level - 1 or p95_ms < EASED * failed.p95_ms:
            return False
        return now_s - failed.at_s < FAILED_S * 2 ** min(self._failures, MOST_DOUBLINGS)
