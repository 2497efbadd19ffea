"""The live view in plain lines, for a log or a pipe: one line whenever what the fuser relies on changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from ..sensing.liveness import State


class Narrator:
    """`show(live)` prints a line where the mask or the ratio changed, at most one per call.

    ``label_at`` takes a time [s] and gives the truth, "" where it is not known.
    """

    def __init__(self, out: TextIO, label_at: Callable[[float], str] | None = None):
        self.out, self.label_at = out, label_at
        self._last: tuple | None = None

    def show(self, live) -> None:
        """`live`: an object with t_s, prediction and mask (messages or None)."""
        p, mask = live.prediction, live.mask
        if p is None or mask is None:
            return
        key = (tuple(p.mask), round(p.pruning_ratio, 4))
        if key == self._last:
            return
        self._last = key
        gone = [f"{s.name} {State(s.state).name}" for s in mask.sensors if s.state != State.OK]
        said = f"{p.class_name} {100 * p.confidence:.0f} %" if p.valid else "nothing: " + p.reason
        label = self.label_at(live.t_s) if self.label_at else ""
        print(
            f"{live.t_s:6.1f} s  {', '.join(gone) or 'all sensors live'}; ratio {p.pruning_ratio:.1f}; says {said}"
            + (f" (truth: {label})" if label else ""),
            file=self.out,
            flush=True,
        )
