"""The log's news: one line when a sensor is lost, returns, never comes or is suspect, and one when the pruning ratio changes.

A sensor that flaps must not fill the log. It may write LINES_AT_ONCE lines, and one more every LINE_PERIOD_S; what was left
out is counted in the next line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..runtime.power_governor import GovernorState
from ..sensing.liveness import State, Status

LINES_AT_ONCE = 4
LINE_PERIOD_S = 10.0
NO_NEWS = (State.NEVER_SEEN, State.RECOVERING)  # on the way up: the next state is the news


class Line(NamedTuple):
    """One line for the log."""

    warns: bool
    text: str


class _SensorLog:
    """What was said of one sensor, and whether more may be said."""

    def __init__(self, name: str):
        self._name = name
        self._said: tuple[State, bool] | None = None  # state, and whether it was suspect
        self._lost_s: float | None = None  # when it was last seen to leave OK
        self._lines, self._lines_at_s = float(LINES_AT_ONCE), 0.0  # how many it may write now
        self._before: State | None = None
        self._changes = 0  # since the last line

    def follow(self, status: Status, now_s: float) -> Line | None:
        """The line for this status, if it is news."""
        state = status.state
        if state in NO_NEWS and not status.overdue:
            return None
        if self._before == State.OK and state != State.OK:
            self._lost_s = now_s
        self._changes += state != self._before
        self._before = state
        if (state, status.suspect) == self._said or not self._may_speak(now_s):
            return None
        text = f"{self._name}: {state.name}"
        if state == State.OK and self._lost_s is not None and (self._said is None or self._said[0] != State.OK):
            text += f" again after {now_s - self._lost_s:.1f} s"
        if status.reason:
            text += f", {status.reason}"
        if state == State.NEVER_SEEN:
            text += "; is its driver running, and is parameter " + self._name + ".topic right?"
        if self._changes > 1:
            text += f" ({self._changes - 1} more changes were not logged)"
        self._said, self._changes = (state, status.suspect), 0
        return Line(status.alarm or status.suspect, text)

    def _may_speak(self, now_s: float) -> bool:
        self._lines = min(LINES_AT_ONCE, self._lines + (now_s - self._lines_at_s) / LINE_PERIOD_S)
        self._lines_at_s = now_s
        if self._lines < 1:
            return False
        self._lines -= 1
        return True


class ChangeLog:
    """Remembers what was logged, and tells what is news. Times are seconds on a steady clock."""

    def __init__(self, sensors: Iterable[str]):
        self._sensors = {name: _SensorLog(name) for name in sensors}
        self._ratio: float | None = None

    def follow(self, statuses: Mapping[str, Status], power: GovernorState, now_s: float) -> list[Line]:
        """The news of one tick."""
        lines = [self._sensors[name].follow(status, now_s) for name, status in statuses.items()]
        news = [line for line in lines if line is not None]
        if self._ratio != power.ratio:
            self._ratio = power.ratio
            news.append(Line(False, f"pruning ratio {power.ratio:.2f}: {power.reason}"))
        return news
