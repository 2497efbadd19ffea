"""Simulated recordings that are made once and kept in the user's cache folder, or in another one if that cannot be written."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .. import simulation
from ..bags.bag import Bag
from ..bags.find import METADATA
from ..bags.label_sources import INTERVALS_FILE
from ..bags.run_description import RUN_FILE
from ..errors import BagError, reason_of
from ..paths import cache_root

MAKING = "making-"  # start of the name of a folder in which a recording is being made; the id of the process follows


class Simulated(Protocol):
    """What determines a simulated recording."""

    def folder_name(self) -> str:
        """Name of the recording's folder; it is different for every version of the simulation's source."""
        ...

    def simulate(self, out: Path, progress: Callable[[float], None] | None) -> None:
        """Record it as the folder ``out``; ``progress`` is called with the simulated seconds done."""
        ...


@dataclass(frozen=True)
class Watch:
    """A standing robot past which somebody walks; see `simulation.watch.simulate_watch`."""

    duration_s: float
    seed: int = 0

    def folder_name(self) -> str:
        return f"watch-{self.seed}-{self.duration_s:g}s-{simulation_version()}"

    def simulate(self, out: Path, progress: Callable[[float], None] | None) -> None:
        from ..simulation.watch import simulate_watch

        simulate_watch(self.duration_s, out, self.seed, progress)


@dataclass(frozen=True)
class Drive:
    """A drive over changing ground; see `simulation.run.simulate` for the values."""

    split: str
    seed: int
    duration_s: float
    battery_wh: float
    battery_start: float

    def folder_name(self) -> str:
        return (
            f"{self.split}-{self.seed}-{self.duration_s:g}s-{self.battery_wh:g}Wh-{self.battery_start:g}-{simulation_version()}"
        )

    def simulate(self, out: Path, progress: Callable[[float], None] | None) -> None:
        from ..simulation.run import simulate

        simulate(
            self.seed,
            self.duration_s,
            out,
            self.split,
            battery_wh=self.battery_wh,
            battery_start=self.battery_start,
            progress=progress,
        )


def simulation_version() -> str:
    """12 hex digits that identify the simulation's source; recordings of another source may differ."""
    digest = hashlib.sha256()
    for path in sorted(Path(simulation.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def cache_folder() -> Path | None:
    """The folder of recordings in the user's cache; None if there is no home folder."""
    root = cache_root()
    return root / "recordings" if root is not None else None


def is_complete(bag: Path) -> bool:
    """Whether a folder is a complete recording with its labels and description, as `simulate` leaves it."""
    if not all((bag / name).is_file() for name in (INTERVALS_FILE, RUN_FILE)):
        return False
    try:
        with Bag(bag) as opened:
            return (bag / METADATA).is_file() and not opened.damage
    except BagError:
        return False


def find(drive: Simulated, folders: list[Path]) -> Path | None:
    """The recording in the first of the folders that has it complete; None if none has."""
    return next((bag for folder in folders if is_complete(bag := folder / drive.folder_name())), None)


def make(drive: Simulated, folders: list[Path], progress: Callable[[float], None] | None = None) -> Path:
    """Simulate the recording into the first folder that can be written; returns the bag.

    Unfinished recordings of processes that have ended are removed. ``progress`` is called with the simulated seconds done.
    Raises BagError if no folder can be written, and ParameterError on values that are out of range.
    """
    folder = next((f for f in folders if writable(f)), None)
    if folder is None:
        raise BagError(
            "the simulated recording",
            "no folder that can be written: " + ", ".join(map(str, folders)),
            "room for 40 MB a minute",
            "set XDG_CACHE_HOME, or give another --out",
        )
    remove_unfinished(folder)
    bag, making = folder / drive.folder_name(), folder / f"{MAKING}{os.getpid()}"
    try:
        drive.simulate(making / bag.name, progress)
        if not is_complete(bag):  # otherwise another process has finished first
            shutil.rmtree(bag, ignore_errors=True)
            (making / bag.name).rename(bag)
    except OSError as error:
        raise BagError(
            f"recording {bag}",
            reason_of(error),
            "a folder that can be written",
            "remove it, or set XDG_CACHE_HOME to another",
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return bag


def writable(folder: Path) -> bool:
    """Whether a folder can be written; it is made if it is missing."""
    trial = folder / f"{MAKING}{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.mkdir(exist_ok=True)
    except OSError:
        return False
    finally:  # also where a signal comes just now
        with suppress(OSError):
            trial.rmdir()
    return True


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished recordings of processes that have ended."""
    for path in folder.glob(MAKING + "*"):
        owner = path.name.removeprefix(MAKING)
        if not (owner.isdigit() and int(owner) != os.getpid() and is_running(int(owner))):
            shutil.rmtree(path, ignore_errors=True)


def is_running(process_id: int) -> bool:
    """Whether a process with this id exists, of any user."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
