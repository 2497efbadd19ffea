"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
from pathlib import Path


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
    except OSError:
        partial.unlink(missing_ok=True)
        raise
