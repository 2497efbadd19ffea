"""Audio at one sample rate -> audio at another, chunk by chunk without clicks where chunks meet.

A windowed-sinc filter at the exact rational ratio: output j lies at input position j * down / up, and each of the ``up`` phases
has its own row of taps, so a chunk costs one gather and one product. The pass band ends below the lower of the two Nyquist
frequencies (Smith, "Digital Audio Resampling", CCRMA).
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd

import numpy as np

ZERO_CROSSINGS = 12  # of the sinc on each side; with the window used the stop band is about 70 dB down
ROLL_OFF = 0.92  # pass band as a share of the lower Nyquist frequency; the rest is the filter's slope
MAX_PHASES = 1024  # awkward ratios (44100 -> 16001) are rounded to this many phases, which is off by under 0.1 % of a sample


@lru_cache(maxsize=16)
def _taps(up: int, down: int) -> np.ndarray:
    """Filter rows (up, taps) float32; row p interpolates at position p / up after input sample taps // 2 - 1."""
    cutoff = ROLL_OFF * min(1.0, up / down)
    half = ceil(ZERO_CROSSINGS / cutoff)
    distance = np.arange(-half + 1, half + 1) - np.arange(up)[:, None] / up  # (up, 2 half)
    taps = (
        cutoff
        * np.sinc(cutoff * distance)
        * np.kaiser(8 * half + 1, 8.0)[np.clip(np.rint((distance / half + 1) * 4 * half), 0, 8 * half).astype(int)]
    )
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)  # every phase has the same gain at DC


class Resampler:
    """Converts ``rate_in_hz`` to ``rate_out_hz``, both whole numbers of hertz, and remembers the end of the last chunk."""

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        self.rate_in_hz, self.rate_out_hz = rate_in_hz, rate_out_hz
        divisor = gcd(rate_in_hz, rate_out_hz)
        self.up, self.down = rate_out_hz // divisor, rate_in_hz // divisor
        if self.up > MAX_PHASES:
            self.up, self.down = MAX_PHASES, round(MAX_PHASES * rate_in_hz / rate_out_hz)
        self.reset()

    def reset(self) -> None:
        """Forget earlier chunks, as if the next one followed silence."""
        taps = _taps(self.up, self.down).shape[1]
        self._past = np.zeros(taps // 2 - 1, np.float32)  # input samples still under the filter
        self._next = 0  # position of the next output in units of 1 / up input samples, from the first centre

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) float32 -> resampled (m,), and the positions (m,) of these outputs in input samples counted from samples[0].

        The newest half filter width is held back for the next chunk, so the first positions may be negative.
        """
        if self.up == self.down:
            return samples, np.arange(len(samples), dtype=np.float64)
        taps = _taps(self.up, self.down)
        width = taps.shape[1]
        signal = np.concatenate((self._past, samples))
        centres = len(signal) - width + 1  # number of positions at which the whole filter fits
        units = np.arange(self._next, max(centres, 0) * self.up, self.down)
        whole, phase = np.divmod(units, self.up)
        if len(units):
            windows = np.lib.stride_tricks.sliding_window_view(signal, width)[whole]  # (m, width)
            out: np.ndarray = np.einsum("mk,mk->m", windows, taps[phase]) if self.up > 1 else windows @ taps[0]
            self._next = int(units[-1]) + self.down
        else:
            out = np.empty(0, np.float32)
        positions = units / self.up + (width // 2 - 1 - len(self._past))
        keep = min(max(centres, 0), self._next // self.up)  # samples that no later output needs
        self._past = signal[keep:]
        self._next -= keep * self.up
        return out, positions
