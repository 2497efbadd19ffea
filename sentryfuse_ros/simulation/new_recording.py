"""A recording under way, which is there as a whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BagError, reason_of


@contextmanager
def new_recording(out: Path) -> Iterator[Path]:
    """The folder to write a recording into. It becomes ``out`` when the block ends, and is removed if the block raises.

    A process that is killed leaves a hidden folder, in which no recording is looked for; the next one for ``out`` removes it.
    Raises BagError if ``out`` exists or cannot be written.
    """
    if out.exists():
        raise BagError(
            f"recording {out}", "something there already", "a folder that does not exist", "choose another --out, or remove it"
        )
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a command that was killed
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield partial / out.name  # under its own name from the start, because its files are named by it
        (partial / out.name).rename(out)
    except OSError as error:
        raise BagError(
            f"recording {out}",
            reason_of(error),
            "a folder that can be written",
            "choose another --out, or free some space",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
