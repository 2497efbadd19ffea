"""Which sensors are judged in a tick, and which of them are not believed any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..preprocessing.picture_window import PictureWindow
from .input_source import InputSource
from .liveness import State, Status
from .model_inputs import ModelInputs

JUDGED_PER_TICK = 2  # model inputs, so that a tick never pays for all of them


def judge_due(slots: Sequence[Sequence[InputSource]], taken: ModelInputs, statuses: Mapping[str, Status]) -> list[InputSource]:
    """Judge the newest windows of what was not judged for longest; those that have just lost their trust.

    What serves is judged by what was ``taken`` for the model, and what is not believed by a window of its own.
    """
    due = [
        (source.trust.waiting_ns(source.newest_ns), source)
        for sources in slots
        for source in sources
        if source.trust and source.judgement_due
    ]
    lying, judged = [], 0
    for _, source in sorted(due, key=lambda pair: pair[0], reverse=True):
        if judged == JUDGED_PER_TICK:
            break
        assert source.trust is not None
        x: np.ndarray | None = None
        if source in taken.serving:
            if source.spec.name in taken.held:
                continue  # judged when it was taken
            given = taken.inputs.get(source.spec.name)  # absent while the plan in force leaves it out
            if isinstance(given, PictureWindow):
                x = source.input_of(taken.snapshot.windows, taken.snapshot.end_ns)
            else:
                x = given
        elif source.trust.distrusted and all(
            statuses[sensor.name].state in (State.IMPLAUSIBLE, State.RECOVERING) for sensor in source.sensors
        ):
            x = source.window_while_distrusted(taken.snapshot.end_ns)
        if x is not None:
            judged += 1
            if source.judge(x):
                lying.append(source)
    return lying
