"""What was true at each moment of a simulated drive, truth.csv beside its bag: pose, motion, the ground and what lies ahead.

It is no topic, so that a recording holds only what a robot could record. How much light, fog, mud, dust, wind and vibration there
is does not change during a drive and stands in run.json.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, reason_of
from ..files import write_atomically
from ..nanoseconds import NS_PER_S, ns_to_stamp, stamp_to_ns
from .find import bag_folder

TRUTH_FILE = "truth.csv"
LOOK_AHEAD_M = 2.0  # how far ahead of the middle of the robot another ground is looked for


class Moment(NamedTuple):
    """The truth at one stamp. ``ahead`` is the first other ground in the direction of travel within LOOK_AHEAD_M, "" if there is
    none, and ``ahead_m`` its distance from the middle of the robot (0 if there is none)."""

    stamp_ns: int
    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float  # forward, mean over the last 20 ms
    turn_rad_s: float  # about the vertical, to the left; mean over the last 20 ms
    ground: str
    ahead: str
    ahead_m: float


def write_truth(folder: Path, moments: Iterable[Moment]) -> None:
    """Write truth.csv into a bag's folder: stamps in seconds with nine decimals, everything else with four. Raises OSError."""
    lines = [",".join(("t", *Moment._fields[1:]))]
    for m in moments:
        sec, nanosec = ns_to_stamp(m.stamp_ns)
        numbers = (f"{v:.4f}" if isinstance(v, float) else v for v in m[1:])
        lines.append(",".join((f"{sec}.{nanosec:09d}", *numbers)))
    write_atomically(folder / TRUTH_FILE, "\n".join(lines) + "\n")


def read_truth(bag: Path) -> Sequence[Moment]:
    """The truth beside a simulated bag, in order of time. Raises DataError naming the file."""
    path = bag_folder(bag) / TRUTH_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_moment(row) for row in csv.DictReader(file)]
    except FileNotFoundError as error:
        raise DataError(
            f"truth file {path}",
            "no such file",
            "one that `sentryfuse simulate` wrote",
            "simulate it again; `sentryfuse simulate --count` adds the file to the drives of a series that lack it",
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"truth file {path}", reason_of(error), "the columns t, " + ", ".join(Moment._fields[1:])) from error


def _moment(row: dict[str, str]) -> Moment:
    sec, _, nanosec = row["t"].partition(".")
    stamp_ns = stamp_to_ns(int(sec), int(nanosec)) if len(nanosec) == 9 else round(float(row["t"]) * NS_PER_S)
    numbers = (float(row[name]) for name in ("x_m", "y_m", "yaw_rad", "speed_mps", "turn_rad_s"))
    x_m, y_m, yaw_rad, speed_mps, turn_rad_s = numbers
    return Moment(stamp_ns, x_m, y_m, yaw_rad, speed_mps, turn_rad_s, row["ground"], row["ahead"], float(row["ahead_m"]))
