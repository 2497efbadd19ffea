"""Hold a power budget by measurement: the level of pruning at which the measured power just keeps the budget.

What a level saves is learned from what the measurement does when the level changes, beginning with the straight line between
power_budget_max_w and power_budget_min_w. Other programs of the robot share the rail, so the power at a level is not constant:
each decision starts from the power that is measured now.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np

SETTLE_S = 1.0  # After a change of the level the sensor and the processor's clock need this long.
WINDOW_S = 2.0  # Power is averaged over this.
FEWEST = 4  # samples that make a mean
KEPT_S = 10.0  # Older samples are forgotten.
STALE_S = 3.0  # Without a sample for this long nothing is known.
MARGIN = 0.02  # The mean may exceed the budget by this share of it before the ratio rises; less pruning must stay below it.
PROBE_BELOW = 0.92  # Below this share of the budget one step less is tried even if the prediction is against it ...
PROBE_GAIN = 0.05  # ... but, after it has failed, only when the power has fallen by this share of the budget.
LEARNED = 0.6  # share of a new observation in what a step is believed to save
STEP_RANGE = (0.1, 4.0)  # A step is never believed to save less or more than this multiple of what the line says.


class Wanted(NamedTuple):
    """The level that the loop asks for, and the measured mean that it goes by."""

    level: int
    power_w: float


class PowerLoop:
    """`measure` samples, then ask for the `wanted` level. Times are seconds on one steady clock.

    levels: pruning ratios in ascending order. span_w: what the highest level is believed to save at first [W].
    """

    def __init__(self, levels: tuple[float, ...], span_w: float):
        shares = np.diff(levels) / levels[-1] if len(levels) > 1 else np.empty(0)
        self._line_w = shares * max(span_w, 1e-3)
        self._step_w = self._line_w.copy()  # what each step from one level to the next saves
        self._samples: deque[tuple[float, float]] = deque()  # time, power
        self.reset()

    def reset(self) -> None:
        """Forget the samples, as after a jump of time; what the levels save is kept."""
        self._samples.clear()
        self._level: int | None = None
        self._since_s = -math.inf  # when the level was seen to change
        self._before: Wanted | None = None  # mean at the level before, to learn from
        self._probe: Wanted | None = None  # the level that a probe is to leave, and the mean there; its level is kept by dwell
        self._failed: Wanted | None = None  # the same of the newest probe that was made, until it turns out well

    def measure(self, watts: float, now_s: float) -> None:
        """Take a sample. One that is no number above 0 is ignored: drivers that do not measure the current report 0 A."""
        if math.isfinite(watts) and watts > 0:
            self._samples.append((now_s, watts))
        while self._samples and now_s - self._samples[0][0] > KEPT_S:
            self._samples.popleft()

    def power_w(self, now_s: float) -> float:
        """Mean of the recent samples [W], NaN without any."""
        recent = [watts for at_s, watts in self._samples if now_s - WINDOW_S <= at_s <= now_s]
        return float(np.mean(recent)) if recent else math.nan

    def silent(self, now_s: float) -> bool:
        """Whether nothing has been measured lately."""
        return not self._samples or now_s - self._samples[-1][0] > STALE_S

    def wanted(self, budget_w: float, level: int, now_s: float) -> Wanted | None:
        """The level for a budget, given the one in force; None where too little has been measured to say."""
        if self.silent(now_s):
            return None
        self._follow(level, now_s)
        start_s = max(self._since_s + SETTLE_S, now_s - WINDOW_S)
        settled = [watts for at_s, watts in self._samples if at_s >= start_s]
        if len(settled) < FEWEST or now_s < start_s:
            return Wanted(level, self.power_w(now_s))
        mean_w = float(np.mean(settled))
        self._learn(Wanted(level, mean_w))
        return Wanted(self._choose(budget_w, level, mean_w), mean_w)

    def _follow(self, level: int, now_s: float) -> None:
        """Notice a change of the level, whoever made it."""
        if level == self._level:
            return
        if self._level is not None:
            mean_w = self.power_w(now_s)
            self._before = None if math.isnan(mean_w) else Wanted(self._level, mean_w)
            if self._probe is not None and level == self._probe.level - 1:
                self._failed = self._probe
        self._probe = None
        self._level, self._since_s = level, now_s

    def _learn(self, now: Wanted) -> None:
        """What the steps between two levels save, from the means before and after the change."""
        before, self._before = self._before, None
        if before is None or before.level == now.level:
            return
        low, high = sorted((before.level, now.level))
        saved_w = before.power_w - now.power_w if now.level > before.level else now.power_w - before.power_w
        believed_w = float(self._step_w[low:high].sum())
        if saved_w > 0:  # otherwise the load has changed at the same time, and nothing can be told
            steps = self._step_w[low:high] * (1 - LEARNED + LEARNED * saved_w / believed_w)
            self._step_w[low:high] = np.clip(steps, *(self._line_w[low:high] * limit for limit in STEP_RANGE))

    def _choose(self, budget_w: float, level: int, mean_w: float) -> int:
        if mean_w > budget_w * (1 + MARGIN):
            self._probe = None
            over_w, higher = mean_w - budget_w, level
            while over_w > 0 and higher < len(self._step_w):
                over_w -= self._step_w[higher]
                higher += 1
            return higher
        if self._failed is not None and level < self._failed.level:
            self._failed = None  # the budget is kept there
        lower, expected_w = level, mean_w
        while lower > 0 and expected_w + self._step_w[lower - 1] <= budget_w * (1 - MARGIN):
            lower -= 1
            expected_w += self._step_w[lower]
        if lower == level and level > 0 and mean_w < PROBE_BELOW * budget_w:
            failed = self._failed
            if failed is None or failed.level != level or mean_w < failed.power_w - PROBE_GAIN * budget_w:
                self._probe = self._probe or Wanted(level, mean_w)
                return level - 1
        return lower
