"""Whether the sample rate that messages of sound claim agrees with their stamps.

A chunk of n samples at a claimed rate lasts n / rate. Chunks that follow each other before they have ended were recorded at a
higher rate than they claim. Chunks that follow each other long after they have ended either miss the sound in between, or were
recorded at a lower rate; in that case their samples adjoin there, and the step from the last sample of one to the first of the
next is no larger than the steps inside them.
"""

from __future__ import annotations

import numpy as np

from ..nanoseconds import NS_PER_S

_KEPT = 0.995  # of what is known, from chunk to chunk
_FEWEST = 16  # chunks before anything is said
_FEWEST_S = 0.3
_HIGH, _LOW = 1.25, 0.8  # time between chunks over the time that they last
_LONGEST_STEP_S = 2.0  # a longer silence, and a jump of the stamps, begin anew
_SMOOTH = 0.6  # squared step inside chunks over twice the variance: rougher sound cannot tell whether chunks adjoin
_COMPARED = 32  # chunks


class ClaimedRate:
    """Follows the chunks of one stream."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all chunks."""
        self._chunks = self._compared = 0
        self._adjoining = False  # it stays so until the stamps agree: sound may become rougher
        self._apart_s = self._lasting_s = 0.0  # time between chunks, and how long they last
        self._longest_s = 0.0  # the longest time between two: stamps may come in bursts, of which one is always unfinished
        self._between = self._inside = self._spread = 0.0  # squared steps between and inside chunks, and variances
        self._stamp_ns, self._length_s, self._last = 0, 0.0, 0.0

    def true_rate_hz(self, stamp_ns: int, samples: np.ndarray, rate_hz: float) -> float:
        """Take a chunk of one channel (n,); the rate that its stamps tell [Hz] where that is not the claimed one, else 0."""
        step_s = (stamp_ns - self._stamp_ns) / NS_PER_S
        known = self._stamp_ns > 0 and 0 <= step_s <= _LONGEST_STEP_S
        if known:
            self._chunks += 1
            self._apart_s = _KEPT * self._apart_s + step_s
            self._lasting_s = _KEPT * self._lasting_s + self._length_s
            self._longest_s = max(_KEPT * self._longest_s, step_s)
            if self._apart_s > self._lasting_s:
                if step_s > _HIGH * self._length_s:  # elsewhere chunks adjoin also where others were lost
                    self._compare(samples)
            else:
                self._compared, self._adjoining = 0, False
                self._between = self._inside = self._spread = 0.0
        else:
            self.reset()
        self._stamp_ns, self._length_s, self._last = stamp_ns, len(samples) / rate_hz, float(samples[-1])
        if self._chunks < _FEWEST or self._lasting_s < _FEWEST_S:
            return 0.0
        self._adjoining = self._adjoining or self._adjoin()
        overlap = self._apart_s + self._longest_s < _LOW * self._lasting_s
        hole = self._adjoining and self._apart_s - self._longest_s > _HIGH * self._lasting_s
        return rate_hz * self._lasting_s / max(self._apart_s, 1e-3) if overlap or hole else 0.0

    def _compare(self, samples: np.ndarray) -> None:
        """Take in how a chunk joins the one before, which ended long before it."""
        values = samples.astype(np.float32)
        steps = values[1:] - values[:-1]
        self._compared += 1
        self._between = _KEPT * self._between + (float(values[0]) - self._last) ** 2
        self._inside = _KEPT * self._inside + (float((steps * steps).mean()) if len(steps) else 0.0)
        self._spread = _KEPT * self._spread + float(values.var())

    def _adjoin(self) -> bool:
        """Whether the chunks follow each other without a sample between them.

        Samples that are far from each other differ by twice the variance in the mean of the squares, neighbours by less; what is
        between chunks must be nearer to the neighbours.
        """
        apart = 2 * self._spread
        smooth = self._inside < _SMOOTH * apart
        return self._compared >= _COMPARED and smooth and self._between**2 < self._inside * apart
