"""When a message arrived on a simulated clock, which may run at any speed, stand still or jump.

The middleware says on the computer's clock when a message came. Two seconds of that are a fifth of a second of simulated time
that runs at a tenth of its speed.
"""

from __future__ import annotations

from collections import deque

import numpy as np

KEPT = 512  # moments: some seconds of polls


class SimulatedArrivals:
    """Remembers moments on both clocks [ns], so that `at` can say what the simulated clock read at a moment of the other."""

    def __init__(self) -> None:
        self._moments: deque[tuple[int, int]] = deque(maxlen=KEPT)

    def reset(self) -> None:
        """Forget everything, as after a backward jump of the simulated clock."""
        self._moments.clear()

    def note(self, steady_ns: int, simulated_ns: int) -> None:
        """The two clocks at one moment; call it regularly, later moments later."""
        self._moments.append((steady_ns, simulated_ns))

    def at(self, age_ns: np.ndarray, steady_ns: int, simulated_ns: int) -> np.ndarray:
        """Simulated time [ns] ``age_ns`` (n,) before now, which is ``steady_ns`` and ``simulated_ns``; int64 (n,)."""
        if not self._moments or not len(age_ns):
            return np.full(len(age_ns), simulated_ns, np.int64)
        moments = np.array([*self._moments, (steady_ns, simulated_ns)], np.int64) - (steady_ns, simulated_ns)
        return simulated_ns + np.interp(-age_ns, moments[:, 0], moments[:, 1]).astype(np.int64)
