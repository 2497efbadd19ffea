"""Processes that end with the one that started them, also where that is killed and cannot end them any more."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that Linux sends to a process when its parent ends; it outlasts exec
_BIND = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(int(sys.argv[1]), int(sys.argv[2]))
if os.getppid() == int(sys.argv[3]):  # a parent that is gone already sends no signal
    os.execv(sys.argv[4], sys.argv[4:])
"""


def end_with_parent() -> None:
    """Let this process get SIGTERM when the one that started it ends in whatever way. Does nothing where there is no Linux."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def bound(command: Sequence[str]) -> list[str]:
    """A command that runs ``command``, whose first word is a path, and ends it by SIGTERM when this process ends in whatever way.

    Without this, a node that a killed replay leaves behind would publish for ever. Start it from a thread that lives as long as
    the process: Linux takes the end of that thread for the end of its parent.
    """
    numbers = (_PR_SET_PDEATHSIG, int(signal.SIGTERM), os.getpid())
    return [sys.executable, "-I", "-S", "-c", _BIND, *map(str, numbers), *command]
