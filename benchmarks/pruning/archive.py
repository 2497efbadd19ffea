"""Finished results in one file of the repository, so that hours of training are not lost with a cache and anybody can read them.

The file has one line of JSON per run, sorted by name, so that a change of one run is a change of one line.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from sentryfuse_ros.errors import DataError
from sentryfuse_ros.files import write_atomically

from .run_result import RunResult
from .runs import Run
from .store import Archive


def read_archive(path: Path) -> dict[str, RunResult]:
    """The results in the file, or none where there is no file. Raises DataError on a line that is not a result."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"finished runs {path}", str(error), "a readable file", "choose another --archive") from error
    found = {}
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            found[values["name"]] = RunResult.from_dict(values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"finished runs {path}, line {number}",
                repr(line[:60]),
                "the JSON of one run with its name",
                "restore the file, or delete the line: its run is then trained again",
            ) from error
    return found


def write_archive(path: Path, results: Archive) -> int:
    """Add the results to the file, which is replaced as a whole; returns how many outdated ones were dropped from it.

    A result is outdated if a run of its name would be trained differently now. Several processes may share the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the system when the process ends, however it ends
        others = read_archive(path)
        kept = {name: result for name, result in others.items() if name in results or _is_current(name, result.run)}
        rows = sorted((kept | dict(results)).items())
        lines = [json.dumps({"name": name, **result.to_dict()}, separators=(",", ":")) for name, result in rows]
        write_atomically(path, "".join(line + "\n" for line in lines))
    return len(others) - len(kept)


def _is_current(name: str, run: Run) -> bool:
    """Whether the run would still have that name, and so be trained in the same way."""
    try:
        return run.name == name
    except KeyError:  # a task or a variant that no longer exists
        return False
