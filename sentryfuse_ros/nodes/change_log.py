"""Log every change of a sensor's state and of the pruning ratio, once."""

from __future__ import annotations

from rclpy.impl.rcutils_logger import RcutilsLogger

from ..runtime.pipeline import Tick
from ..sensing.liveness import State


class ChangeLog:
    """Remembers what was logged last, and logs what differs from it."""

    def __init__(self, logger: RcutilsLogger):
        self._logger = logger
        self._states: dict[str, State] = {}
        self._ratio: float | None = None

    def follow(self, tick: Tick) -> None:
        """Compare a tick with what was logged. A sensor that has not been seen yet is no news at first."""
        for name, status in tick.statuses.items():
            before = self._states.get(name)
            if before == status.state:
                continue
            self._states[name] = status.state
            if before is None and status.state == State.NEVER_SEEN:
                continue
            text = f"{name}: {status.state.name}" + (f", {status.reason}" if status.reason else "")
            if status.alarm:  # two calls, because rclpy ties a severity to each calling line
                self._logger.warning(text)
            else:
                self._logger.info(text)
        if self._ratio != tick.power.ratio:
            self._ratio = tick.power.ratio
            self._logger.info(f"pruning ratio {tick.power.ratio:.2f}: {tick.power.reason}")
