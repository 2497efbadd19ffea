"""From the truth of a simulated drive to what a sentence may say at a moment of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..bags.drive_truth import Moment, read_truth
from ..bags.run_description import read_run_description
from ..errors import DataError
from .facts import CONDITIONS, Facts, Truth

DISTURBED = 0.25  # nuisances above this level are there; drawn levels lie below 0.15 or above 0.45
CHANGE_S = 1.5  # a ground was left "a moment ago" for this long: the windows of the sensors still show it
CHANGE_TOLERANCE_S = 0.5  # and up to this much longer, saying so is not wrong
AHEAD_M, AHEAD_TOLERANCE_M = 1.0, 0.5  # the camera sees the ground up to about a metre ahead
WHEELS_M = 0.25  # wheels stand this far before and behind the middle, so near a border the robot is on both grounds
MOTION_S = 1.0  # speed and turn rate are means over this time
SLOW_MPS, FAST_MPS, SPEED_TOLERANCE_MPS = 0.55, 0.95, 0.1
TURN_RAD_S, TURN_TOLERANCE_RAD_S = 0.25, 0.12


class Scenes:
    """The truth of one drive at any of its moments. Raises DataError where the files are missing."""

    def __init__(self, bag: Path):
        description = read_run_description(bag)
        if description is None or not description.nuisances:
            raise DataError(f"drive {bag}", "no run.json with nuisances", "a drive that `sentryfuse simulate` recorded")
        self.split = description.split
        self.conditions = frozenset(name for name in CONDITIONS if description.nuisances.get(name, 0.0) > DISTURBED)
        self._moments = read_truth(bag)
        self._stamps_ns = [m.stamp_ns for m in self._moments]

    def at(self, stamp_ns: int, sensors: Mapping[str, str] | None = None) -> Truth | None:
        """The truth at a stamp, with the states of the sensors; None before MOTION_S of the drive are over."""
        end = bisect_right(self._stamps_ns, stamp_ns)
        recent = self._since(end, stamp_ns, MOTION_S)
        if len(recent) < 0.9 * MOTION_S * 10:
            return None
        now, speed_mps = recent[-1], float(np.mean([m.speed_mps for m in recent]))
        turn_rad_s = float(np.mean([m.turn_rad_s for m in recent]))
        facts = Facts(
            now.ground,
            _left(self._since(end, stamp_ns, CHANGE_S)),
            now.ahead if 0 < now.ahead_m <= AHEAD_M else "",
            "slow" if speed_mps < SLOW_MPS else "fast" if speed_mps > FAST_MPS else "medium",
            ("left" if turn_rad_s > 0 else "right") if abs(turn_rad_s) > TURN_RAD_S else "",
            self.conditions,
            dict(sensors or {}),
        )
        near = {now.ahead} if 0 < now.ahead_m <= WHEELS_M else set()
        behind = {m.ground for m in self._since(end, stamp_ns, MOTION_S) if _distance_m(m, now) <= WHEELS_M}
        grounds = frozenset({now.ground} | near | behind)
        return Truth(
            facts,
            grounds,
            _changes(self._since(end, stamp_ns, CHANGE_S + CHANGE_TOLERANCE_S), near),
            frozenset({now.ahead} if 0 < now.ahead_m <= AHEAD_M + AHEAD_TOLERANCE_M else ()) | (grounds - {now.ground}),
            _speeds(speed_mps),
            frozenset(
                name for name, sign in (("left", 1), ("right", -1)) if sign * turn_rad_s > TURN_RAD_S - TURN_TOLERANCE_RAD_S
            ),
        )

    def _since(self, end: int, stamp_ns: int, duration_s: float) -> Sequence[Moment]:
        begin = bisect_right(self._stamps_ns, stamp_ns - round(duration_s * 1e9))
        return self._moments[begin:end]


def _left(moments: Sequence[Moment]) -> str:
    """The ground that was left last within these moments, "" if none was."""
    others = [m.ground for m in moments if m.ground != moments[-1].ground]
    return others[-1] if others else ""


def _changes(moments: Sequence[Moment], near: set[str]) -> frozenset[tuple[str, str]]:
    """Changes of the ground within these moments, and the one that the front wheels have made already."""
    grounds = [m.ground for m in moments]
    made = {(a, b) for a, b in zip(grounds, grounds[1:]) if a != b}
    return frozenset(made | {(grounds[-1], ground) for ground in near})


def _distance_m(a: Moment, b: Moment) -> float:
    return float(np.hypot(a.x_m - b.x_m, a.y_m - b.y_m))


def _speeds(speed_mps: float) -> frozenset[str]:
    by, words = SPEED_TOLERANCE_MPS, set()
    if speed_mps < SLOW_MPS + by:
        words.add("slow")
    if SLOW_MPS - by < speed_mps < FAST_MPS + by:
        words.add("medium")
    if speed_mps > FAST_MPS - by:
        words.add("fast")
    return frozenset(words)
