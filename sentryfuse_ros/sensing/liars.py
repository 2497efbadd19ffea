"""Which windows of a tick are judged, and the judgement, which may wait until the model has run on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..preprocessing.picture_window import PictureWindow
from .input_source import InputSource
from .liveness import State, Status
from .model_inputs import ModelInputs
from .trust_table import Judgement

JUDGED_PER_TICK = 2  # model inputs, so that no inference waits for all of them


class Hearing(NamedTuple):
    """A window of one source that is to be judged. It was copied out of the buffers."""

    source: InputSource
    newest_ns: int
    resets: int  # of the source's trust when the window was taken
    whole: bool  # False: there is too little data to judge it
    x: np.ndarray  # the model input

    def weigh(self) -> Judgement | None:
        """What the trust table says of it, None where there is too little data. Changes nothing; any thread may call it."""
        assert self.source.trust is not None
        return self.source.trust.weigh(self.x) if self.whole else None

    def conclude(self, judgement: Judgement | None) -> None:
        """Believe or mask the source accordingly, from its next check on. A window from before a reset, or one that was judged
        meanwhile, changes nothing."""
        trust = self.source.trust
        assert trust is not None
        if self.resets == trust.resets and trust.due(self.newest_ns):
            self.source.conclude(self.newest_ns, judgement)


def hearings(slots: Sequence[Sequence[InputSource]], taken: ModelInputs, statuses: Mapping[str, Status]) -> tuple[Hearing, ...]:
    """The newest windows of what was not judged for longest.

    What serves is judged by what was ``taken`` for the model, and what is not believed by a window of its own.
    """
    due = [
        (source.trust.waiting_ns(source.newest_ns), source)
        for sources in slots
        for source in sources
        if source.trust and source.judgement_due
    ]
    longest_first = sorted(due, key=lambda pair: pair[0], reverse=True)
    return tuple(_first(_hearing(source, taken, statuses) for _, source in longest_first))


def _first(found: Iterator[Hearing | None]) -> Iterator[Hearing]:
    wanted = (hearing for hearing in found if hearing is not None)
    return (hearing for _, hearing in zip(range(JUDGED_PER_TICK), wanted))


def _hearing(source: InputSource, taken: ModelInputs, statuses: Mapping[str, Status]) -> Hearing | None:
    """None where the source has no window to be judged by now."""
    x: np.ndarray | PictureWindow | None = None
    if source in taken.serving:
        if source.spec.name in taken.held:
            return None  # it was judged when it was taken
        x = taken.inputs.get(source.spec.name)  # absent while the plan in force leaves it out
        if isinstance(x, PictureWindow):
            x = source.input_of(taken.snapshot.windows, taken.snapshot.end_ns)
    elif source.distrusted:
        if all(statuses[sensor.name].state in (State.IMPLAUSIBLE, State.RECOVERING) for sensor in source.sensors):
            x = source.window_while_distrusted(taken.snapshot.end_ns)
    if x is None or isinstance(x, PictureWindow) or source.trust is None:
        return None
    return Hearing(source, source.newest_ns, source.trust.resets, not source.has_holes, x)
