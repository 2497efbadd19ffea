"""Writing files: whether it can be done, asked before the long part of the work, and so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import SentryFuseError, reason_of


def make_folder(path: Path) -> None:
    """Make a folder that files will be written into. Raises SentryFuseError where it cannot be made or written."""
    if bad := _made(path):
        raise SentryFuseError(f"folder {path}", bad, "a folder that can be written", "choose another one")


def check_writable(path: Path) -> None:
    """Make the folder of a file that will be written. Raises SentryFuseError where the file cannot be written."""
    if _is_special(path):
        bad = "" if os.access(path, os.W_OK) else "no permission to write to it"
    else:
        bad = "a folder" if path.is_dir() else _made(path.resolve().parent)
    if bad:
        raise SentryFuseError(f"file {path}", bad, "a file that can be written", "choose another path")


def _made(folder: Path) -> str:
    """Make a folder; what is wrong with it, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # the permissions do not tell it: root and network file systems differ
            return ""
    except OSError as error:
        return reason_of(error)


def _is_special(path: Path) -> bool:
    """Whether it is a device or a pipe, such as /dev/stdout, which nothing can replace."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Replace the file ``path`` by ``content`` (text as UTF-8) in one step. Its folder must exist. Raises OSError.

    The content is first written to a file beside it whose name contains the id of this process. After a crash, with a full
    disk, or if a second process writes the same file, ``path`` is either the old file or a whole new one, never a mixture.
    A link stays, and the file that it leads to is replaced. Devices and pipes are written to.
    """
    # A path on the command line has surrogates where the locale is not UTF-8; they become the bytes that they stand for.
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    if _is_special(Path(path)):
        with open(path, "wb") as device:
            device.write(data)
        return
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """An open file that takes the place of ``path`` when the block ends, and is removed if it raises (`write_atomically`)."""
    target = Path(path).resolve()
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None  # nobody knows the other file
        raise
