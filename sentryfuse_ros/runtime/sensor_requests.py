"""Which sensors their drivers may switch off, because the plan in force has no use for them, and when they are needed again.

A LiDAR draws 8 to 20 W, more than any network saves. But a sensor that is off is not there when another one dies, so two model
inputs always stay live, and a sensor is switched off only after the plan has left it out for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..sensing.liveness import State, Status
from ..settings import SensorSettings

LEAST_LIVE = 2  # model inputs that stay live beside a sensor that is switched off


@dataclass(frozen=True, slots=True)
class SensorRequest:
    """What the driver of a sensor is asked to do."""

    sensor: str
    wanted: bool  # whether it should send
    reason: str
    since_s: float  # when it was asked, on the caller's clock


class SensorRequests:
    """Requests to the drivers of the sensors that `may_switch_off`. Times are seconds on one steady clock."""

    def __init__(self, sensors: Iterable[SensorSettings]):
        self._settings = {s.name: s for s in sensors if s.may_switch_off}
        self.version = 0  # rises with every new request
        self.requests: dict[str, SensorRequest] = {}
        self.reset()

    def reset(self) -> None:
        """Want all sensors, as at activation."""
        self.requests = {name: SensorRequest(name, True, "no plan is in force", float("-inf")) for name in self._settings}
        self._unused_since_s: dict[str, float] = {}
        self._waking: set[str] = set()
        self.version += 1

    def apply(self, name: str, status: Status, now_s: float) -> Status:
        """The status of a sensor, given what liveness says: a sensor that is silent by request is ASLEEP, without an alarm."""
        request = self.requests.get(name)
        if request is None or status.state == State.DISABLED:
            return status
        if status.live:
            self._waking.discard(name)
            return status
        if not request.wanted:
            return replace(status, state=State.ASLEEP, reason=request.reason, alarm=False, overdue=False)
        if name not in self._waking:
            return status
        awake_s, allowed_s = now_s - request.since_s, self._settings[name].wake_up_s
        if awake_s <= allowed_s:
            text = f"woken {awake_s:.1f} s ago, may take {allowed_s:g} s"
            return replace(status, state=State.ASLEEP, reason=text, alarm=False, overdue=False)
        return replace(status, alarm=True, reason=f"{status.reason}; did not come back within {allowed_s:g} s after it was woken")

    def decide(
        self,
        candidates: Sequence[Sequence[str]],
        live: Sequence[bool],
        choose: Callable[[Sequence[bool]], Sequence[bool]],
        statuses: Mapping[str, Status],
        now_s: float,
    ) -> None:
        """Ask for changes.

        candidates: per model input the sensors that may serve it. live: bool (M,). choose: from live inputs (M,) to those that
        the ratio's plan uses.
        """
        if not self._settings:
            return
        asleep = {name for name, status in statuses.items() if status.state == State.ASLEEP}
        # What the plan would use if the sleeping sensors were there: they are, if they are wanted.
        possible = [here or bool(asleep.intersection(names)) for here, names in zip(live, candidates, strict=True)]
        used = choose(possible) if any(possible) else possible
        for slot, names in enumerate(candidates):
            others = sum(live) - live[slot]
            for name in self._settings.keys() & set(names):
                needed = "the plan uses it" if used[slot] else "too few others are live" if others < LEAST_LIVE else ""
                self._decide_one(name, needed, name in asleep or statuses[name].live, now_s)

    def _decide_one(self, name: str, needed: str, works: bool, now_s: float) -> None:
        if needed:
            self._unused_since_s.pop(name, None)
            if not self.requests[name].wanted:
                self._waking.add(name)
                self._ask(name, True, needed, now_s)
        elif works and self.requests[name].wanted and name not in self._waking:
            settings = self._settings[name]
            unused_s = now_s - self._unused_since_s.setdefault(name, now_s)
            if unused_s >= max(settings.switch_off_after_s, settings.wake_up_s):
                self._ask(name, False, f"the plan has not used it for {unused_s:.0f} s", now_s)

    def _ask(self, name: str, wanted: bool, reason: str, now_s: float) -> None:
        self.requests[name] = SensorRequest(name, wanted, reason, now_s)
        self.version += 1
