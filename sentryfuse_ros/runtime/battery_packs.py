"""The packs of one robot that publish on one topic: the lowest of them decides."""

from __future__ import annotations

import math

from .battery_reading import NEVER_HEARD, BatteryReading

MOST_PACKS = 16  # More names than this come from a broken driver; the one that was silent for longest is forgotten.


class BatteryPacks:
    """One `BatteryReading` per pack, by its name; drivers that send no name have one pack, whose name is ""."""

    def __init__(self) -> None:
        self._packs: dict[str, BatteryReading] = {}

    def read(self, percentage: float, charging: bool, now_s: float, scale: str, pack: str = "", filled: bool = True) -> None:
        """Take one message; see `BatteryReading.read`. An empty slot, that is a pack which is not filled in beside others, is
        left out."""
        if not filled and pack and any(name != pack for name in self._packs):
            self._packs.pop(pack, None)
            return
        if pack not in self._packs and len(self._packs) >= MOST_PACKS:
            del self._packs[min(self._packs, key=lambda name: self._packs[name].heard_s)]
        self._packs.setdefault(pack, BatteryReading()).read(percentage, charging, now_s, scale, filled)

    @property
    def fraction(self) -> float:
        """Charge of the lowest pack 0..1, NaN as long as no reading was believable."""
        return min((p.fraction for p in self._packs.values() if not math.isnan(p.fraction)), default=math.nan)

    @property
    def charging(self) -> bool:
        """Whether any pack is charging."""
        return any(pack.charging for pack in self._packs.values())

    def __len__(self) -> int:
        return len(self._packs)

    def charges(self, now_s: float, timeout_s: float) -> bool:
        """Whether a pack is charging and has lately said so."""
        return any(pack.charges(now_s, timeout_s) for pack in self._packs.values())

    def notes(self, now_s: float, timeout_s: float) -> list[str]:
        """What an operator should know of each pack."""
        if not self._packs:
            return [NEVER_HEARD]
        several = len(self._packs) > 1
        return [
            f"pack {name or 'without name'}: {note}" if several else note
            for name, pack in self._packs.items()
            for note in pack.notes(now_s, timeout_s)
        ]

    def forget_time(self) -> None:
        """The clock starts anew."""
        for pack in self._packs.values():
            pack.forget_time()

    def follow_clock(self, now_s: float, timeout_s: float) -> None:
        """Let no reading lie in the future, and forget a pack that was taken out: it is silent while another is heard."""
        for pack in self._packs.values():
            pack.follow_clock(now_s)
        heard = {name: pack for name, pack in self._packs.items() if now_s - pack.heard_s <= timeout_s}
        if heard:
            self._packs = heard
