"""Windows of cameras and LiDARs that serve several predictions, where the plan in force holds its pictures (`planner`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..nanoseconds import NS_PER_S
from .input_source import InputSource


class HeldWindow(NamedTuple):
    """The window of one model input, and where and when it was taken."""

    x: np.ndarray  # float32 spec.shape, read-only
    newest_ns: int  # stamp of its newest row
    source: InputSource
    returns: tuple[int, ...]  # how often each sensor of the source had become live
    turn: int  # `HeldPictures.turn` at which it was taken


class HeldPictures:
    """Keeps the windows of model inputs. A new one is due once in ``hold_s``, at moments that differ between the inputs, so that
    no prediction pays for all of them; and whenever another sensor serves, its sensor was away, or the trust in it is in doubt.
    """

    def __init__(self, inputs: int):
        """``inputs``: how many the model has."""
        self._windows: list[HeldWindow | None] = [None] * inputs

    def reset(self) -> None:
        """Forget all windows, as after a jump of the clock."""
        self._windows = [None] * len(self._windows)

    def turn(self, place: int, now_ns: int, hold_s: float) -> int:
        """A number that changes when a new window of the input at ``place`` is due; it depends on the clock alone."""
        hold_ns = round(hold_s * NS_PER_S)
        return (now_ns + place * hold_ns // len(self._windows)) // hold_ns

    def window(self, place: int, source: InputSource, now_ns: int, hold_s: float, may_renew: bool = True) -> HeldWindow | None:
        """The window that serves the input at ``place``; None where a new one is to be taken.

        ``may_renew``: False where there are no rows of the newest pictures: the window then serves for longer.
        """
        held = self._windows[place]
        if not source.holds_pictures or held is None or held.source is not source or held.returns != source.returns:
            return None
        if may_renew and (source.in_doubt or held.turn != self.turn(place, now_ns, hold_s)):
            return None
        return held

    def keep(self, place: int, source: InputSource, now_ns: int, hold_s: float, x: np.ndarray, newest_ns: int) -> None:
        """Keep a new window for the predictions that follow."""
        if source.holds_pictures:
            x.setflags(write=False)  # by which the engine knows it again
            self._windows[place] = HeldWindow(x, newest_ns, source, source.returns, self.turn(place, now_ns, hold_s))

    def serves_at(self, place: int, source: InputSource, now_ns: int, hold_s: float) -> bool:
        """Whether the window that is kept will still serve at another moment, as far as that is known now."""
        return self.window(place, source, now_ns, hold_s) is not None
