"""Writing files: whether it can be done, asked before the long part of the work, and so that a reader never sees half of one."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import SentryFuseError, reason_of


def make_folder(path: Path) -> None:
    """Make a folder that files will be written into. Raises SentryFuseError where it cannot be made or written."""
    if bad := _made(path):
        raise SentryFuseError(f"folder {path}", bad, "a folder that can be written", "choose another one")


def check_writable(path: Path) -> None:
    """Make the folder of a file that will be written. Raises SentryFuseError where the file cannot be written."""
    if bad := _made(path.parent) or ("a folder" if path.is_dir() else ""):
        raise SentryFuseError(f"file {path}", bad, "a file that can be written", "choose another path")


def _made(folder: Path) -> str:
    """Make a folder; what is wrong with it, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return "" if os.access(folder, os.W_OK) else "a folder that is read-only"
    except OSError as error:
        return reason_of(error)


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Replace the file ``path`` by ``content`` (text as UTF-8) in one step. Its folder must exist. Raises OSError.

    The content is first written to a file beside it whose name contains the id of this process. After a crash, with a full
    disk, or if a second process writes the same file, ``path`` is either the old file or a whole new one, never a mixture.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None  # nobody knows the other file
        raise
