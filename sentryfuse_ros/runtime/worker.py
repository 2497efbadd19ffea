"""One worker thread with a one-slot mailbox: the newest job wins, none queues up behind a slow one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class LatestJobWorker:
    """Runs `work(job)` in a thread; a job that was not begun when the next one comes is replaced and counted.

    An exception of `work` goes to `on_error` and does not end the thread.
    """

    def __init__(self, work: Callable[[Any], None], on_error: Callable[[Exception], None], name: str = "inference"):
        self._work, self._on_error = work, on_error
        self._condition = threading.Condition()
        self._job: Any = None
        self._has_job = self._stopping = self.busy = False
        self.replaced = 0
        self.done = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Any) -> None:
        with self._condition:
            self.replaced += self._has_job
            self._job, self._has_job = job, True
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self.busy = False
                while not (self._has_job or self._stopping):
                    self._condition.wait()
                if self._stopping:
                    return
                job, self._job, self._has_job, self.busy = self._job, None, False, True
            try:
                self._work(job)
            except Exception as error:  # the robot keeps getting predictions after one that failed
                self._on_error(error)
            self.done += 1

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Finish the job in hand, drop the one waiting; True where the thread ended in time."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()
