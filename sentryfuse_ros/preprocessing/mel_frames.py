"""The spectrograms of a stream of sound, window after window: a frame that is finished is not made again."""

from __future__ import annotations

import numpy as np

from ..nanoseconds import NS_PER_S
from .audio import frames, mel_plan, reach_ns
from .spec import ModalitySpec


class MelFrames:
    """Makes `audio.model_input` of windows that end on a grid of whole frames, and keeps the frames of the last one.

    The grid is that of the stamps' clock, so that the frames of two windows are at the same times. A window ends less than one
    frame, `hop_ns`, before the moment for which it is asked.
    """

    def __init__(self, spec: ModalitySpec):
        self._plan = mel_plan(spec)
        self._window_ns, self._total = round(spec.window_s * NS_PER_S), spec.shape[0]
        self.hop_ns = self._window_ns // self._total
        self._ahead_ns = reach_ns(spec)  # of a frame's centre, at which the last sample is that it depends on
        self.reach_ns = self.hop_ns + 2 * self._ahead_ns
        # Otherwise the frames of two windows are not at the same times, to the nanosecond.
        self._keeps = self._window_ns % (2 * self._total) == 0
        self._frames = np.zeros(spec.shape, np.float32)
        self._end_ns, self._finished, self._rewrites = 0, 0, -1

    def window(self, row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, rewrites: int) -> np.ndarray:
        """(T, n_mels) of the last window before ``end_ns`` [ns], from samples (k,) at stamps (k,) [ns], sorted.

        They must reach `reach_ns` further back than a window that ends at ``end_ns``. rewrites: a number that changes whenever
        samples that were there at the last call have changed or gone (`WindowBuffer.rewrites`).
        """
        end_ns -= end_ns % self.hop_ns
        ahead = (end_ns - self._end_ns) // self.hop_ns
        kept = self._finished - ahead
        if not self._keeps or rewrites != self._rewrites or ahead < 0 or kept <= 0:
            x = frames(row_stamp_ns, rows, end_ns, self._plan, 0, self._total)
        else:
            x = np.empty_like(self._frames)
            x[:kept] = self._frames[ahead : ahead + kept]
            x[kept:] = frames(row_stamp_ns, rows, end_ns, self._plan, kept, self._total)
        self._frames, self._end_ns, self._rewrites = x, end_ns, rewrites
        self._finished = self._finished_by(row_stamp_ns)
        return x.copy()

    def _finished_by(self, row_stamp_ns: np.ndarray) -> int:
        """How many of the newest frames no later sample will change, because it will be later than the newest sample now."""
        count = int(row_stamp_ns.searchsorted(self._end_ns, side="right"))
        if not count:
            return 0
        # The last that ends before the newest sample: its centre is half of a hop after its beginning.
        newest_ns = int(row_stamp_ns[count - 1]) - (self._end_ns - self._window_ns)
        return (newest_ns - 1 - self._ahead_ns - self.hop_ns // 2) // self.hop_ns + 1
