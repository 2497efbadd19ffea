"""A run in plain lines, for a log or a pipe: one line whenever the mask or the pruning ratio changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from ..replay.latest import Latest
from ..sensing.liveness import State


class Narrator:
    """`show(latest)` prints a line if the mask or the ratio has changed since the line before.

    ``label_at`` takes a time [s] and returns the label at that time, "" if there is none.
    """

    def __init__(self, out: TextIO, label_at: Callable[[float], str] | None = None):
        self.out, self.label_at = out, label_at
        self._shown: tuple[tuple[bool, ...], float, tuple[str, ...]] | None = None

    def show(self, latest: Latest) -> None:
        """Print a line if there is anything new."""
        p, mask = latest.prediction, latest.mask
        if p is None or mask is None:
            return
        streams = latest.pruning.streams if latest.pruning is not None else ()
        now = (tuple(p.mask), round(p.pruning_ratio, 4), tuple(stream.branch for stream in streams))
        if now == self._shown:
            return
        self._shown = now
        lost = [f"{s.name} {State(s.state).name}" for s in mask.sensors if s.state != State.OK]
        predicted = f"{p.class_name} {100 * p.confidence:.0f} %" if p.valid else f"none ({p.reason})"
        label = self.label_at(latest.t_s) if self.label_at else ""
        print(
            f"{latest.t_s:6.1f} s  {', '.join(lost) or 'all sensors live'}; ratio {p.pruning_ratio:.2f}; prediction {predicted}"
            + (f" (truth: {label})" if label else "")
            + "".join(f"; {stream.model_input} {stream.branch}, {100 * stream.tokens:.0f} % of its tokens" for stream in streams),
            file=self.out,
            flush=True,
        )
