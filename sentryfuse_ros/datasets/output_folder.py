"""The folder that a data set is built in: what an earlier build left there may go, what is anybody else's stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..errors import DataError, reason_of
from ..files import write_atomically
from .description import DatasetDescription
from .window_folder import DESCRIPTION, TABLE

PARTS, SETTINGS = "parts", "settings.json"


def written_before(out: Path) -> set[str]:
    """Names of the files in a folder that an earlier build wrote, finished or not; a file that is no array of ours is not among
    them."""
    names: set[str] = set()
    for record in (out / DESCRIPTION, out / PARTS / SETTINGS):
        try:
            values = json.loads(record.read_text(encoding="utf-8"))
            arrays = {f"{spec['name']}.npy" for spec in values["modalities"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
        names |= arrays | {DESCRIPTION, TABLE}
    return names


def check_folder(out: Path, description: DatasetDescription) -> None:
    """Raises DataError if the folder has files that the data set would overwrite and that no earlier build wrote."""
    wanted = {DESCRIPTION, TABLE, *(f"{spec.name}.npy" for spec in description.specs)}
    foreign = sorted(name for name in wanted - written_before(out) if (out / name).exists())
    parts = out / PARTS
    if parts.exists() and not (parts / SETTINGS).exists() and (not parts.is_dir() or any(parts.iterdir())):
        foreign.append(PARTS)
    if foreign:
        raise DataError(
            f"data set folder {out}",
            "files that sentryfuse dataset did not write: " + ", ".join(foreign),
            "a folder without them",
            "choose another --out, or move them away",
        )


def parts_folder(out: Path, description: DatasetDescription) -> Path:
    """The folder of finished parts; parts that were extracted with other settings are removed, with the arrays made of them."""
    parts = out / PARTS
    settings = parts / SETTINGS
    text = json.dumps(description.extraction(), sort_keys=True)
    try:
        if settings.exists() and settings.read_text(encoding="utf-8") != text:
            _remove_arrays(out)
            remove_parts(out)
        parts.mkdir(parents=True, exist_ok=True)
        for half in parts.glob("*.partial"):  # of a build that was killed; they may be large
            half.unlink(missing_ok=True)
        write_atomically(settings, text)
    except OSError as error:
        raise DataError(
            f"data set folder {out}", reason_of(error), "a folder that can be written", "choose another --out"
        ) from error
    return parts


def remove_parts(out: Path) -> None:
    """Remove the folder of parts. The record that it is ours goes last: a killed process leaves nothing that seems foreign."""
    for path in (out / PARTS).iterdir():
        if path.name != SETTINGS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(out / PARTS)


def make_room(out: Path, size: int) -> None:
    """Remove the arrays of an earlier build, and its description first: a folder that has one is complete.

    Raises DataError if the disk is too full for ``size`` bytes: a memory-mapped file that cannot grow ends the process without an
    error.
    """
    _remove_arrays(out)
    free = shutil.disk_usage(out).free
    if size * 1.02 + 1e6 > free:
        raise DataError(
            f"data set folder {out}",
            f"{free / 1e6:.0f} MB free",
            f"{size * 1.02 / 1e6 + 1:.0f} MB",
            "free some space, then run the same command again; the parts that are done are kept",
        )


def _remove_arrays(out: Path) -> None:
    old = written_before(out)
    (out / DESCRIPTION).unlink(missing_ok=True)
    for name in old:
        (out / name).unlink(missing_ok=True)
