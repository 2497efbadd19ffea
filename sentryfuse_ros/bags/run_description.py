"""The description of a recording, run.json beside its bag: which split it belongs to, what disturbed it, how it was made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import DataError, reason_of
from ..files import write_atomically
from .find import bag_folder

RUN_FILE = "run.json"
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class RunDescription:
    """What run.json says. A file by hand needs none of the keys; `sentryfuse simulate` writes all of them.

    split: train, val or test, or "" if the recording may be put into any. disturbed: the conditions under which it was
    recorded, which evaluations report apart. seed, world, nuisances (name -> level) and patches (the map of the simulated
    world) are what a simulated recording was made from. duration_s: length [s]. text: what it shows, in whole sentences.
    battery_wh: capacity of the simulated battery [Wh]. battery_start: its charge at the start, 0 to 1.
    """

    split: str = ""
    seed: int | None = None
    world: int | None = None
    duration_s: float | None = None
    nuisances: Mapping[str, float] = field(default_factory=dict)
    disturbed: tuple[str, ...] = ()
    patches: Sequence[Mapping[str, object]] = ()
    text: str = ""
    battery_wh: float | None = None
    battery_start: float | None = None

    def is_simulated(self) -> bool:
        return self.world is not None and bool(self.nuisances)


def write_run_description(folder: Path, description: RunDescription) -> None:
    """Write run.json into a bag's folder. Raises OSError."""
    write_atomically(folder / RUN_FILE, json.dumps(asdict(description), indent=1) + "\n")


def read_run_description(bag: Path) -> RunDescription | None:
    """The description beside a bag (its folder, or a file in it), or None if there is none. Other keys are ignored.

    Raises DataError naming the file and the key that is wrong.
    """
    path = bag_folder(bag) / RUN_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"run file {path}", reason_of(error), "a JSON object", "correct or remove it") from error
    if not isinstance(values, dict):
        raise DataError(f"run file {path}", type(values).__name__, "a JSON object", "correct or remove it")

    def wrong(key: str, expected: str) -> DataError:
        return DataError(f"run file {path} {key}", repr(values[key]), expected, "correct or remove it")

    split, disturbed = values.get("split", ""), values.get("disturbed", [])
    if split not in ("", *SPLITS):
        raise wrong("split", "one of " + ", ".join(SPLITS))
    if not isinstance(disturbed, list) or not all(isinstance(name, str) for name in disturbed):
        raise wrong("disturbed", "a list of words")
    for key in ("seed", "world"):
        if not isinstance(values.get(key), (int, type(None))):
            raise wrong(key, "an integer")
    for key, expected in (
        ("duration_s", "a number of seconds"),
        ("battery_wh", "a number of Wh"),
        ("battery_start", "a share of the capacity, 0 to 1"),
    ):
        if values.get(key) is not None and not _is_number(values[key]):
            raise wrong(key, expected)
    if not isinstance(text := values.get("text", ""), str):
        raise wrong("text", "whole sentences")
    nuisances, patches = values.get("nuisances", {}), values.get("patches", [])
    if not isinstance(nuisances, dict) or not all(map(_is_number, nuisances.values())):
        raise wrong("nuisances", "an object of numbers")
    if not isinstance(patches, list):
        raise wrong("patches", "a list")
    return RunDescription(
        split,
        values.get("seed"),
        values.get("world"),
        values.get("duration_s"),
        nuisances,
        tuple(disturbed),
        tuple(patches),
        text,
        values.get("battery_wh"),
        values.get("battery_start"),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
