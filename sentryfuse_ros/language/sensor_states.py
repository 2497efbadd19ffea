"""What a caption calls the state of each model input's sensors at a tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..runtime.tick import Tick
from ..sensing.liveness import State, Status
from .facts import RESTING, USED

_WORDS = {
    State.NEVER_SEEN: "missing",
    State.OK: RESTING,  # live, and not used
    State.LATE: "late",
    State.STALE: "silent",
    State.FROZEN: "frozen",
    State.INVALID: "invalid",
    State.RECOVERING: "recovering",
    State.IMPLAUSIBLE: "invalid",
    State.DISABLED: "off",
    State.ASLEEP: RESTING,
}


def sensor_states(tick: Tick, modalities: Sequence[str], candidates: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Model input -> one of `facts.SENSOR_STATES`. ``candidates``: the sensors of each input, the preferred one first; of several
    that all fail, the first is told of."""
    found = {}
    for name, live, used in zip(modalities, tick.mask, tick.used, strict=True):
        found[name] = USED if used else RESTING if live else _fault([tick.statuses[s] for s in candidates.get(name, ())])
    return found


def _fault(statuses: Sequence[Status]) -> str:
    failing = [status for status in statuses if not status.live]  # a part of an input may be live alone
    return _WORDS[failing[0].state] if failing else "missing"
