"""Which sensors are judged in a tick, and which of them are not believed any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .liveness import State, Status
from .model_inputs import ModelInputs
from .sensor import Sensor

JUDGED_PER_TICK = 2  # sensors, so that a tick never pays for all of them


def judge_due(sensors: Iterable[Sensor], taken: ModelInputs, statuses: Mapping[str, Status]) -> list[Sensor]:
    """Judge the newest windows of the sensors that were not judged for longest; those that have just lost their trust.

    A sensor that serves is judged by what was ``taken`` for the model, and one that is not believed by a window of its own.
    """
    due = [(sensor.trust.waiting_ns(sensor.newest_ns), sensor) for sensor in sensors if sensor.trust and sensor.judgement_due]
    lying, judged = [], 0
    for _, sensor in sorted(due, key=lambda pair: pair[0], reverse=True):
        if judged == JUDGED_PER_TICK:
            break
        assert sensor.spec is not None and sensor.trust is not None
        x = None
        if sensor in taken.serving:
            x = taken.inputs.get(sensor.spec.name)  # absent while the plan in force leaves it out
        elif sensor.trust.distrusted and statuses[sensor.name].state in (State.IMPLAUSIBLE, State.RECOVERING):
            x = sensor.window_while_distrusted(taken.snapshot.end_ns)
        if x is not None:
            judged += 1
            if sensor.judge(x):
                lying.append(sensor)
    return lying
