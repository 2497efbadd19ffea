"""One worker thread with a mailbox for one job: the newest job wins, and none waits in line behind a slow one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .named_thread import named_thread

Job = TypeVar("Job")


class LatestJobWorker(Generic[Job]):
    """Runs `work(job)` in a thread. A job that has not begun when the next one comes is replaced and counted.

    An exception from `work` goes to `on_error` and does not end the thread.
    """

    def __init__(self, work: Callable[[Job], object], on_error: Callable[[Exception], object], name: str = "inference"):
        self._work, self._on_error = work, on_error
        self._condition = threading.Condition()
        self._waiting: list[Job] = []  # at most one
        self._stopping = False
        self.replaced = 0  # jobs that a newer one displaced
        self._thread = named_thread(self._run, name)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Make this the next job."""
        with self._condition:
            self.replaced += len(self._waiting)
            self._waiting = [job]
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not (self._waiting or self._stopping):
                    self._condition.wait()
                if self._stopping:
                    return
                job = self._waiting.pop()
            try:
                self._work(job)
            except Exception as error:  # the robot keeps getting predictions after one that failed
                self._on_error(error)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Finish the job in progress and drop the waiting one; returns whether the thread ended in time."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()
