"""Threads that the operating system knows by name, so that `top -H` shows what a node spends its time on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LONGEST = 15  # characters that Linux keeps


def named_thread(target: Callable[[], object], name: str) -> threading.Thread:
    """A thread, not started yet, that ends with the process and has this name for Python and for Linux.

    Python itself tells Linux the name from version 3.14 on only.
    """

    def run() -> None:
        with suppress(OSError):  # not Linux
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name[:_LONGEST])
        target()

    return threading.Thread(target=run, name=name, daemon=True)


def names_of_threads(pid: int) -> list[str]:
    """The names by which Linux knows the threads of a process that run now."""
    names = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            names.append((thread / "comm").read_text().strip())
    return names
