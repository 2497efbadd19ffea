"""What this process asks of the scheduler: to run before other programs, where the machine allows it.

Beside busy programs a thread of an ordinary process may wait for a core for a second and more, above all where the kernel
divides the cores between sessions or services first and between threads only then. A thread with a real-time policy waits for
milliseconds. All threads of the process get it, because each may hold what another waits for: Python's lock, or those of the
middleware.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REALTIME, RAISED, ORDINARY = "real-time", "raised", "ordinary"
FIFO_PRIORITY = 10  # of 1 to 99; interrupts are at 50, and what drives motors should be above this
NICE = -10
BACKGROUND_FIFO_PRIORITY, BACKGROUND_NICE = 1, 10  # of threads that have stepped back
# A process that computes without a pause must not keep others from running: above this share of the cores that it may use, over
# WATCH_S, it is given back its ordinary priority.
LARGEST_SHARE = 0.45
WATCH_S = 2.0


_background: set[int] = set()  # the threads of this process that have stepped back


def step_back() -> None:
    """Let the other threads of this process run before the calling one, whatever priority the process has or will take.

    Under a real-time policy it keeps the lowest such priority: it may hold Python's lock, which the others wait for.
    """
    thread = threading.get_native_id()
    _background.add(thread)
    if not hasattr(os, "sched_setscheduler"):
        return
    if os.sched_getscheduler(thread) == os.SCHED_FIFO:
        _set_policy(thread, os.SCHED_FIFO, BACKGROUND_FIFO_PRIORITY)
    else:
        _set_nice(thread, BACKGROUND_NICE)


@contextmanager
def starting_ordinary_processes() -> Iterator[None]:
    """Processes that the calling thread starts meanwhile begin at ordinary priority, whatever priority this process has.

    Otherwise they would inherit it, and the start of an interpreter would hold up whatever runs at the same priority.
    """
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    thread = threading.get_native_id()
    policy, parameter, nice = os.sched_getscheduler(thread), os.sched_getparam(thread), os.getpriority(os.PRIO_PROCESS, thread)
    if policy == os.SCHED_FIFO:
        _set_policy(thread, os.SCHED_OTHER, 0)
    if nice < 0:
        _set_nice(thread, 0)
    try:
        yield
    finally:
        _set_nice(thread, nice)
        _set_policy(thread, policy, parameter.sched_priority)


class CpuPriority:
    """The priority of all threads of this process: `take` it, `watch` its use, `give_back` in the end."""

    def __init__(self) -> None:
        self.level = ORDINARY
        self._since_s = self._used_s = 0.0

    def take(self) -> str:
        """Ask for what is allowed: SCHED_FIFO, or else a lower nice value. Returns the level that was reached."""
        self.level = _raise(list(_threads()))
        self._since_s, self._used_s = time.monotonic(), time.process_time()
        return self.level

    def watch(self) -> bool:
        """Call it often. Returns True when the process has used too much and was given back its ordinary priority."""
        now_s = time.monotonic()
        if self.level == ORDINARY or now_s - self._since_s < WATCH_S:
            return False
        used_s = time.process_time()
        share = (used_s - self._used_s) / (now_s - self._since_s) / cores()
        self._since_s, self._used_s = now_s, used_s
        if share <= LARGEST_SHARE:
            return False
        self.give_back()
        return True

    def give_back(self) -> None:
        """Be an ordinary process again."""
        for thread in _threads() if self.level != ORDINARY else ():
            if self.level == REALTIME:
                _set_policy(thread, os.SCHED_OTHER, 0)
                if thread in _background:
                    _set_nice(thread, BACKGROUND_NICE)
            elif thread not in _background:
                _set_nice(thread, 0)
        self.level = ORDINARY


def cores() -> int:
    """How many cores this process may use, which in a container or under taskset may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allowed_level() -> str:
    """What `CpuPriority.take` would reach; nothing changes."""
    if not hasattr(os, "sched_setscheduler"):
        return ORDINARY
    before, parameter, nice = os.sched_getscheduler(0), os.sched_getparam(0), os.getpriority(os.PRIO_PROCESS, 0)
    level = _raise([0])
    if level == REALTIME:
        os.sched_setscheduler(0, before, parameter)
    elif level == RAISED:
        _set_nice(0, nice)
    return level


def _raise(threads: list[int]) -> str:
    if not hasattr(os, "sched_setscheduler"):  # not Linux
        return ORDINARY
    _background.intersection_update(_threads())
    behind = BACKGROUND_FIFO_PRIORITY
    if all([_set_policy(t, os.SCHED_FIFO, behind if t in _background else FIFO_PRIORITY) for t in threads]):
        return REALTIME
    return RAISED if all([_set_nice(t, NICE) for t in threads if t not in _background]) else ORDINARY


def _threads() -> Iterator[int]:
    folder = Path("/proc/self/task")
    return (int(task.name) for task in folder.iterdir()) if folder.exists() else iter(())


def _set_policy(thread: int, policy: int, priority: int) -> bool:
    try:
        os.sched_setscheduler(thread, policy, os.sched_param(priority))
    except ProcessLookupError:  # the thread has ended meanwhile
        return True
    except OSError:
        return False
    return True


def _set_nice(thread: int, nice: int) -> bool:
    try:
        os.setpriority(os.PRIO_PROCESS, thread, nice)  # of one thread, as Linux has it
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return True
