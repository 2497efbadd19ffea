"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Replace ``path`` by ``content`` (text as UTF-8) in one step; its folder must exist.

    The content is first written to a file beside it that carries this process's id, so a crash, a full disc or a second
    process that writes the same file leaves either the old file or a new one, never a mixture. Raises OSError.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
