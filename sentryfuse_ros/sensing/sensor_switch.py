"""What people say of a sensor: that it is not to be used, or that its loss is known."""

from __future__ import annotations

from dataclasses import replace

from ..errors import ParameterError
from .liveness import State, Status


class SensorSwitch:
    """The word of an operator on one sensor, applied to what liveness says of it."""

    def __init__(self) -> None:
        self._disabled: str | None = None  # the reason, None where the sensor is enabled
        self._known: str | None = None  # the reason given for a loss that is known, None where there is none

    @property
    def disabled(self) -> bool:
        return self._disabled is not None

    def enable(self) -> None:
        """Use the sensor, and raise alarms for it."""
        self._disabled = self._known = None

    def disable(self, reason: str) -> None:
        self._disabled, self._known = reason, None

    def acknowledge(self, sensor: str, status: Status | None, reason: str) -> None:
        """No alarm until the sensor has been OK again. Raises ParameterError where it is not lost."""
        if self.disabled or status is None or status.live:
            state = "DISABLED" if self.disabled else status.state.name if status is not None else "not checked yet"
            raise ParameterError(f"sensor {sensor}", state, "a sensor that is lost", "disable it, if it is not to be used")
        self._known = reason

    def apply(self, status: Status) -> Status:
        """The status of the sensor, given what liveness says."""
        if self._disabled is not None:
            text = "by request" + (f": {self._disabled}" if self._disabled else "")
            return replace(status, state=State.DISABLED, reason=text, alarm=False, overdue=False, rate_hz=0.0)
        if self._known is None:
            return status
        if status.live:
            self._known = None
            return status
        return replace(status, alarm=False, reason=f"{status.reason}; known" + (f": {self._known}" if self._known else ""))
