"""What the battery says, as far as it can be believed: percentages checked, scale recognised, silence noticed.

Drivers differ: sensor_msgs/BatteryState defines percentage as 0..1, many drivers send 0..100, and some send NaN.
"""

from __future__ import annotations

import math

OVERFULL = 1.1  # A fraction up to here is a full battery badly calibrated, not a charge of 1.1 %.
PERCENT_VOTES = 3  # Readings above OVERFULL in a row before a source that sent fractions is read in percent.
NEVER_HEARD = "no battery reading"


class BatteryReading:
    """The last believable charge, whether the battery is charging, and what was wrong with later readings.

    Times are seconds on one clock. ``fraction`` is 0..1, and NaN as long as no reading was believable.
    """

    def __init__(self) -> None:
        self.fraction = math.nan
        self.charging = False
        self._heard_s: float | None = None
        self._trouble = ""  # what was wrong with the newest reading
        self._in_percent = False  # the source counts to 100
        self._votes = 0
        self._fraction_seen = False

    def read(self, percentage: float, charging: bool, now_s: float, scale: str) -> None:
        """Take one BatteryState; ``scale`` is "auto", "fraction" or "percent". An impossible value keeps the last one."""
        self._heard_s, self.charging = now_s, bool(charging)
        fraction, self._trouble = self._check(float(percentage), scale)
        if fraction is not None:
            self.fraction = fraction

    def charges(self, now_s: float, timeout_s: float) -> bool:
        """Whether it is charging and has lately said so: a charger is not believed for longer than the battery is heard."""
        return self.charging and self._heard_s is not None and now_s - self._heard_s <= timeout_s

    def notes(self, now_s: float, timeout_s: float) -> list[str]:
        """What an operator should know: nothing heard yet, an impossible reading, or silence."""
        if self._heard_s is None:
            return [NEVER_HEARD]
        notes = [self._trouble] if self._trouble else []
        if now_s - self._heard_s > timeout_s:
            notes.append(f"battery silent for {now_s - self._heard_s:.0f} s")
        return notes

    def forget_time(self) -> None:
        """The clock starts anew: silence counts from the next `follow_clock`."""
        if self._heard_s is not None:
            self._heard_s = math.inf

    def follow_clock(self, now_s: float) -> None:
        """A reading cannot lie in the future: after the clock went back, silence counts from now."""
        if self._heard_s is not None:
            self._heard_s = min(self._heard_s, now_s)

    def _check(self, value: float, scale: str) -> tuple[float | None, str]:
        """Fraction 0..1, or None with what was wrong with the reading."""
        if math.isnan(value):
            return None, "battery reads NaN"
        if value < 0 or value > 100 * OVERFULL or (scale == "fraction" and value > OVERFULL):
            return None, f"battery reads {value:g}, out of range"
        if scale == "auto" and not self._in_percent:
            if value <= OVERFULL:
                self._votes, self._fraction_seen = 0, True
                return min(value, 1.0), ""
            self._votes += 1
            if self._fraction_seen and self._votes < PERCENT_VOTES:
                return None, f"battery reads {value:g} after fractions"
            self._in_percent = True
        if scale == "percent" or self._in_percent:
            return min(value / 100, 1.0), ""
        return min(value, 1.0), ""
