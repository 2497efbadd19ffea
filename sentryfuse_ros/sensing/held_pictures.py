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
    hold_s: float  # of the plan for which it was taken
    until_ns: int  # node clock when a new one is due


class HeldPictures:
    """Keeps the windows of model inputs. A new one is due once in ``hold_s``, at moments that differ between the inputs, so that
    no prediction pays for all of them; and whenever another sensor serves, its sensor was away, or the trust in it is in doubt.
    """

    def __init__(self, inputs: int, early_ns: int = 0):
        """``inputs``: how many the model has. ``early_ns``: a window that was renewed so long before it became due is
        not renewed again then; less than a fuse period."""
        self._windows: list[HeldWindow | None] = [None] * inputs
        self._early_ns = early_ns

    def reset(self) -> None:
        """Forget all windows, as after a jump of the clock."""
        self._windows = [None] * len(self._windows)

    def until_ns(self, place: int, now_ns: int, hold_s: float) -> int:
        """When a window of the input at ``place`` that is taken now becomes due [ns]; it depends on the clock alone."""
        hold_ns = round(hold_s * NS_PER_S)
        ahead_ns = place * hold_ns // len(self._windows)
        return ((now_ns + self._early_ns + ahead_ns) // hold_ns + 1) * hold_ns - ahead_ns

    def window(
        self, place: int, source: InputSource, now_ns: int, hold_s: float, newest_ns: int | None = None, may_renew: bool = True
    ) -> HeldWindow | None:
        """The window that serves the input at ``place``; None where a new one is to be taken.

        ``newest_ns``: stamp of the source's newest row, where rows were made of all its pictures: with none newer than those of
        the window, a new one would only make the engine encode the same pictures again. ``may_renew``: False where no rows may
        be made. In both cases the window serves for longer; in the latter one not beyond another ``hold_s``, because the plans in
        force since then may have left its source out.
        """
        held = self._windows[place]
        if not source.holds_pictures or held is None or held.source is not source or held.returns != source.returns:
            return None
        if not may_renew:
            return held if now_ns < held.until_ns + held.hold_s * NS_PER_S else None
        due = now_ns >= held.until_ns or held.hold_s != hold_s or source.has_new_picture or source.in_doubt
        nothing_newer = newest_ns is not None and newest_ns <= held.newest_ns
        return None if due and not nothing_newer else held

    def keep(self, place: int, source: InputSource, now_ns: int, hold_s: float, x: np.ndarray, newest_ns: int) -> None:
        """Keep a new window for the predictions that follow."""
        if source.holds_pictures:
            x.setflags(write=False)  # by which the engine knows it again
            until_ns = self.until_ns(place, now_ns, hold_s)
            self._windows[place] = HeldWindow(x, newest_ns, source, source.returns, hold_s, until_ns)

    def serves_until(self, place: int, source: InputSource, at_ns: int) -> bool:
        """Whether the window that is kept will still serve at a later moment, as far as that is known now."""
        held = self._windows[place]
        return held is not None and at_ns < held.until_ns and not source.in_doubt
