"""SIGINT, SIGTERM and SIGHUP: they end the spinning, and break off a step that takes long.

Python runs a handler between two instructions of the main thread. A handler that only set a flag would be heeded when the step
in progress has ended, which for `configure` are seconds in which the node then even becomes active. Inside `broken_off` the
handler raises instead, so that the step ends as soon as the C function in progress returns.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last one comes when a terminal is closed or a connection lost


class StopRequested(BaseException):
    """A signal has broken off the step in progress. Not an Exception, so that no handler of errors swallows it."""


class StopSignals:
    """Whether this process has been asked to end. There is one, because signals belong to the process: `STOP`."""

    def __init__(self) -> None:
        self.name = ""  # the signal that came, e.g. SIGINT
        self._raises = False

    @property
    def requested(self) -> bool:
        return bool(self.name)

    def install(self) -> None:
        """Handle these signals from now on, but not a SIGHUP that nohup has ignored. Call it in the main thread."""
        for number in NUMBERS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Ignore these signals from now on, because the process is about to end. The interpreter takes its handlers away before
        that, and another signal, as a service manager and `ros2 launch` send it together, would kill the process on its way."""
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        if self._raises:
            self._raises = False  # a second signal must not interrupt the clean-up after the first
            raise StopRequested(self.name)

    @contextmanager
    def broken_off(self) -> Iterator[None]:
        """Raises StopRequested inside the block as soon as a signal comes, or at once where one has come already."""
        if self.name:
            raise StopRequested(self.name)
        self._raises = True
        try:
            yield
        finally:
            self._raises = False


STOP = StopSignals()
