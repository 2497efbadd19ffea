"""Finished cells in one file beside the results: hours of training are not lost with a cache, and anybody can look into them.

One line of JSON a net, by name, so that a change of one is a change of one line.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentryfuse_ros.errors import DataError

from .nets import Net

Cells = Mapping[str, Mapping[str, Any]]  # name of the net, with its recipe's hash -> cell
NO_CELLS: Cells = {}


def read_archive(path: Path) -> dict[str, dict[str, Any]]:
    """What the file holds; nothing where there is none. Raises DataError on a line that is no cell."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"finished nets {path}", str(error), "a readable file", "choose another --cells") from error
    found = {}
    for number, line in enumerate(lines, 1):
        try:
            cell = json.loads(line)
            found[cell.pop("name")] = cell
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"finished nets {path}, line {number}",
                repr(line[:60]),
                "the JSON of one net with its name",
                "put the file back as it was, or take the line out: its net is then trained again",
            ) from error
    return found


def write_archive(path: Path, cells: Cells) -> int:
    """Put the cells into the file, replaced as a whole; returns how many others were dropped, as their recipe is no more.

    Several runs may share the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the system when the process ends, however it does
        others = read_archive(path)
        kept = {name: cell for name, cell in others.items() if name in cells or _current(name, cell)}
        lines = [json.dumps({"name": name, **cell}, separators=(",", ":")) for name, cell in sorted((kept | dict(cells)).items())]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        os.replace(partial, path)
    return len(others) - len(kept)


def _current(name: str, cell: Mapping[str, Any]) -> bool:
    """Whether a net of that name would still be trained in the way that the cell's was."""
    try:
        return Net(**cell["net"]).name == name
    except (KeyError, TypeError):  # an application or a variant that there is none of any more
        return False
