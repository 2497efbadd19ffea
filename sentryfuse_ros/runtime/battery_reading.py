"""What a battery says, as far as it can be believed: percentages checked, scale recognised, silence noticed.

Drivers differ: sensor_msgs/BatteryState defines percentage as 0..1, many drivers send 0..100, some send NaN, some leave the whole
message empty, and some publish several packs on one topic.
"""

from __future__ import annotations

import math

OVERFULL = 1.1  # A fraction up to here is a full battery badly calibrated, not a charge of 1.1 %.
OVERFULL_WITNESSED = 2.0  # The same for a source that has sent fractions before; a charger can bring a gauge to 1.2.
PERCENT_VOTES = 3  # Readings above that in a row before a source that sent fractions is read in percent.
JUMP = 0.05  # A charge does not change by more than this from one message to the next, unless the pack is another.
MIXED_S = 30.0  # A rise and a fall of more than that within this time [s]: two packs are publishing.
NEVER_HEARD = "no battery reading"


class BatteryReading:
    """The last believable charge of one pack, whether it is charging, and what was wrong with later readings.

    Times are seconds on one clock. ``fraction`` is 0..1, and NaN as long as no reading was believable.
    """

    def __init__(self) -> None:
        self.fraction = math.nan
        self.charging = False
        self.heard_s = math.inf  # time of the newest message
        self._trouble = ""  # what was wrong with the newest reading
        self._in_percent = False  # the source counts to 100
        self._votes = 0
        self._fraction_seen = False
        self._newest = math.nan  # the newest reading that was possible, believed or not
        self._rose_s = -math.inf  # when a reading was last much higher than the one before
        self._mixed_until_s = -math.inf

    def read(self, percentage: float, charging: bool, now_s: float, scale: str, filled: bool = True) -> None:
        """Take one BatteryState; ``scale`` is "auto", "fraction" or "percent". An impossible value keeps the last one.

        filled: False for a message in which the driver has filled in nothing.
        """
        self.heard_s, self.charging = now_s, bool(charging)
        if not filled:
            self._trouble = "battery message not filled in: percentage 0, voltage 0, not present"
            return
        fraction, self._trouble = self._check(float(percentage), scale)
        if fraction is not None:
            self._believe(fraction, now_s)

    def _believe(self, fraction: float, now_s: float) -> None:
        """Take a possible reading. Of two packs that publish in turn under one name the lower counts."""
        newest, self._newest = self._newest, fraction
        if fraction > newest + JUMP:
            self._rose_s = now_s
        elif fraction < newest - JUMP and now_s - self._rose_s <= MIXED_S:
            self._mixed_until_s = now_s + MIXED_S
        if now_s < self._mixed_until_s:
            self._trouble = f"battery reads {100 * newest:.0f} % and {100 * fraction:.0f} % in turn, the lower counts"
            if fraction > self.fraction + JUMP:
                return
            self._mixed_until_s = now_s + MIXED_S
        self.fraction = fraction

    def charges(self, now_s: float, timeout_s: float) -> bool:
        """Whether it is charging and has lately said so: a charger is not believed for longer than the battery is heard."""
        return self.charging and now_s - self.heard_s <= timeout_s

    def notes(self, now_s: float, timeout_s: float) -> list[str]:
        """What an operator should know: an impossible reading, or silence."""
        notes = [self._trouble] if self._trouble else []
        if now_s - self.heard_s > timeout_s:
            notes.append(f"battery silent for {now_s - self.heard_s:.0f} s")
        return notes

    def forget_time(self) -> None:
        """The clock starts anew: silence counts from the next `follow_clock`."""
        self.heard_s = math.inf
        self._rose_s = self._mixed_until_s = -math.inf

    def follow_clock(self, now_s: float) -> None:
        """A reading cannot lie in the future: after the clock went back, silence counts from now."""
        self.heard_s = min(self.heard_s, now_s)
        self._rose_s = min(self._rose_s, now_s)
        self._mixed_until_s = min(self._mixed_until_s, now_s + MIXED_S)

    def _check(self, value: float, scale: str) -> tuple[float | None, str]:
        """Fraction 0..1, or None with what was wrong with the reading."""
        if math.isnan(value):
            return None, "battery reads NaN"
        if value < 0 or value > 100 * OVERFULL or (scale == "fraction" and value > OVERFULL_WITNESSED):
            return None, f"battery reads {value:g}, out of range"
        if scale == "auto" and not self._in_percent:
            if value <= (OVERFULL_WITNESSED if self._fraction_seen else OVERFULL):
                self._votes, self._fraction_seen = 0, True
                return min(value, 1.0), ""
            self._votes += 1
            if self._fraction_seen and self._votes < PERCENT_VOTES:
                return None, f"battery reads {value:g} after fractions"
            if not self._fraction_seen and value <= OVERFULL_WITNESSED:
                return None, f"battery reads {value:g}, which is either full or nearly empty; set battery_scale"
            self._in_percent = True
        if scale == "percent" or self._in_percent:
            return min(value / 100, 1.0), ""
        return min(value, 1.0), ""
