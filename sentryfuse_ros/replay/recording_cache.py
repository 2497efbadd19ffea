"""Simulated recordings, made once and kept: in the user's cache folder, or beside the results where that cannot be written."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import simulation
from ..bags.bag import Bag
from ..errors import BagError
from .run_record import ABOUT_FILE
from .truth import INTERVALS_FILE

MAKING = "making-"  # followed by the id of the process that makes it


@dataclass(frozen=True)
class Drive:
    """What decides a simulated recording; see `simulation.run.simulate`."""

    split: str
    seed: int
    duration_s: float
    battery_wh: float
    battery_start: float

    def folder_name(self) -> str:
        """Readable, and different for every version of the simulation's source."""
        return (
            f"{self.split}-{self.seed}-{self.duration_s:g}s-{self.battery_wh:g}Wh-{self.battery_start:g}-{simulation_version()}"
        )


def simulation_version() -> str:
    """12 hex digits of the simulation's source: other source, other recordings."""
    digest = hashlib.sha256()
    for path in sorted(Path(simulation.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME` or ~/.cache, this package's part of it (XDG Base Directory); None where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # a relative one is to be ignored
        return Path(base) / "sentryfuse_ros" / "recordings"
    try:
        return Path.home() / ".cache" / "sentryfuse_ros" / "recordings"
    except RuntimeError:
        return None


def is_whole(bag: Path) -> bool:
    """Whether a folder is a recording with its truth, as `simulate` leaves it."""
    if not all((bag / name).is_file() for name in (INTERVALS_FILE, ABOUT_FILE)):
        return False
    try:
        Bag(bag).close()
    except BagError:
        return False
    return True


def find(drive: Drive, folders: list[Path]) -> Path | None:
    """The recording in the first of the folders that has it whole."""
    return next((bag for folder in folders if is_whole(bag := folder / drive.folder_name())), None)


def make(drive: Drive, folders: list[Path], progress: Callable[[float], None] | None = None) -> Path:
    """Simulate it into the first folder that can be written; returns the bag. What was half made before is removed.

    ``progress`` is called with the simulated seconds done. Raises BagError where no folder can be written, ParameterError
    on values that cannot be.
    """
    from ..simulation.run import simulate

    folder = next((f for f in folders if writable(f)), None)
    if folder is None:
        raise BagError(
            "the simulated recording",
            "no folder that can be written: " + ", ".join(map(str, folders)),
            "room for 40 MB a minute",
            "set XDG_CACHE_HOME, or give another --out",
        )
    remove_half_made(folder)
    bag, making = folder / drive.folder_name(), folder / f"{MAKING}{os.getpid()}"
    try:
        simulate(
            drive.seed,
            drive.duration_s,
            making / bag.name,
            drive.split,
            battery_wh=drive.battery_wh,
            battery_start=drive.battery_start,
            progress=progress,
        )
        if not is_whole(bag):  # else another process was quicker
            shutil.rmtree(bag, ignore_errors=True)
            (making / bag.name).rename(bag)
    except OSError as error:
        raise BagError(
            f"recording {bag}",
            error.strerror or str(error),
            "a folder that can be written",
            "remove it, or set XDG_CACHE_HOME to another",
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return bag


def writable(folder: Path) -> bool:
    """Whether a file can be made there; the folder is made where it is missing."""
    trial = folder / f"{MAKING}{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.mkdir(exist_ok=True)
        trial.rmdir()
    except OSError:
        return False
    return True


def remove_half_made(folder: Path) -> None:
    """Remove what processes that have ended left behind."""
    for path in folder.glob(MAKING + "*"):
        owner = path.name.removeprefix(MAKING)
        if not (owner.isdigit() and int(owner) != os.getpid() and is_running(int(owner))):
            shutil.rmtree(path, ignore_errors=True)


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
