"""Mono samples -> log-mel spectrogram: T frames of n_mels bands, where frame t is centred on the t-th part of the window.

Options (all optional):
  sample_rate_hz  sample rate of the rows, to which the decoder resamples [Hz]. Default 16000.
  n_fft           samples per frame, under a Hann window. Default: the first power of two that covers 25 ms.
  f_min_hz        lower edge of the lowest band [Hz]. Default 50.
  f_max_hz        upper edge of the highest band [Hz]. Default: half the sample rate.
  log_floor       added to the power of a band before the logarithm; a full-scale sine has 0.25. Default 1e-8.
The hop is window_s / T. Frames of which less than half was recorded are exactly zero after normalisation, which the tokeniser
takes as empty. Mel scale: 2595 log10(1 + f / 700) (O'Shaughnessy 1987), with triangles of equal height.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, log2

import numpy as np

from ..errors import ParameterError
from ..nanoseconds import NS_PER_S
from .spec import ModalitySpec

DEFAULT_SAMPLE_RATE_HZ = 16000
_GAP_SAMPLES = 4  # stamps further apart than this many samples begin a new piece; smaller steps are jitter


def sample_rate_hz(spec: ModalitySpec) -> int:
    """Sample rate of the rows that `model_input` takes [Hz]. Raises ParameterError if it is no whole positive number."""
    rate = spec.options.get("sample_rate_hz", DEFAULT_SAMPLE_RATE_HZ)
    if not 0 < rate <= 400000 or rate != int(rate):
        raise ParameterError(
            f"modality {spec.name!r} sample_rate_hz",
            repr(rate),
            "a whole number in (0, 400000]",
            "correct the modality's options",
        )
    return int(rate)


def check_spec(spec: ModalitySpec) -> ModalitySpec:
    """Raises ParameterError if shape and options make no spectrogram; returns the spec."""
    _plan_options(spec)
    return spec


def model_input(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec) -> np.ndarray:
    """Samples (k,) full scale -1..1 at stamps (k,) [ns], sorted -> (T, n_mels) float32 normalised."""
    frames, bands = spec.shape
    signal, recorded = window_signal(row_stamp_ns, rows, end_ns, spec)
    if not recorded.any():
        return np.zeros((frames, bands), np.float32)
    out = log_mel(signal, spec)
    if spec.mean:
        out -= np.asarray(spec.mean, np.float32)
    if spec.std:
        out /= np.asarray(spec.std, np.float32)
    if recorded.all():
        return out
    missing = np.flatnonzero(~recorded)
    edges = np.linspace(0, len(signal), frames + 1).round().astype(np.int64)
    lost = np.diff(np.searchsorted(missing, edges))
    length = np.diff(edges)
    out[2 * (length - lost) < length] = 0.0
    return out


def window_signal(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray]:
    """The window's samples (W,) on a regular grid that ends at ``end_ns``, and their validity mask (W,) bool.

    Samples are 0 where nothing was recorded.
    """
    rate = sample_rate_hz(spec)
    length = round(spec.window_s * rate)
    signal, recorded = np.zeros(length, np.float32), np.zeros(length, bool)
    start_ns = int(end_ns) - round(spec.window_s * NS_PER_S)
    first, last = np.searchsorted(row_stamp_ns, (start_ns, int(end_ns)), side="right")
    if first == last:
        return signal, recorded
    stamps, rows = row_stamp_ns[first:last], rows[first:last]
    # A piece without a gap is placed as a whole, by its last sample. Rounding the stamp of every sample to the grid would leave
    # holes and doubles, which show as clicks in a spectrogram.
    breaks = np.flatnonzero(np.diff(stamps) > _GAP_SAMPLES * NS_PER_S / rate) + 1
    for begin, end in zip((0, *breaks.tolist()), (*breaks.tolist(), len(stamps)), strict=True):
        stop = min(length, ceil((int(stamps[end - 1]) - start_ns) * rate / NS_PER_S - 1e-3))
        count = min(stop, end - begin)
        if count > 0:
            signal[stop - count : stop] = rows[end - count : end]
            recorded[stop - count : stop] = True
    return signal, recorded


def log_mel(signal: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    """Signal (W,) of the whole window -> (T, n_mels) float32, natural logarithm of band power, not normalised."""
    starts, window, bank = _plan(spec.shape[0], spec.shape[1], len(signal), *_plan_options(spec))
    n_fft = len(window)
    padded = np.zeros(len(signal) + n_fft + n_fft // 2, np.float32)  # what lies outside the window is unknown: silence
    padded[n_fft // 2 : n_fft // 2 + len(signal)] = signal
    pieces = np.ndarray((len(padded) - n_fft + 1, n_fft), np.float32, padded, 0, 2 * padded.strides)  # one at every sample
    spectrum = np.fft.rfft(pieces[starts] * window, axis=1)  # (T, n_fft / 2 + 1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return np.log(power @ bank + np.float32(spec.options.get("log_floor", 1e-8)))  # (T, n_mels)


def band_edges_hz(spec: ModalitySpec) -> np.ndarray:
    """Edges of the mel bands [Hz], (n_mels + 2,): band i reaches from edge i over its peak at edge i + 1 to edge i + 2."""
    _, _, low_hz, high_hz = _plan_options(spec)
    return _edges_hz(spec.shape[1], low_hz, high_hz)


def _plan_options(spec: ModalitySpec) -> tuple[int, int, float, float]:
    """Sample rate, n_fft and band edges. Raises ParameterError if they make no filter bank."""
    rate, options = sample_rate_hz(spec), spec.options
    n_fft = int(options.get("n_fft", 2 ** ceil(log2(max(0.025 * rate, 2)))))
    low, high = float(options.get("f_min_hz", 50.0)), float(options.get("f_max_hz", rate / 2))
    if not (2 <= n_fft <= 65536 and 0 <= low < high <= rate / 2):
        raise ParameterError(
            f"modality {spec.name!r} spectrogram",
            f"n_fft {n_fft}, {low:g} to {high:g} Hz",
            f"2 <= n_fft <= 65536 and 0 <= f_min_hz < f_max_hz <= {rate / 2:g}",
            "correct the modality's options",
        )
    return rate, n_fft, low, high


@lru_cache(maxsize=32)
def _plan(
    frames: int, bands: int, length: int, rate: int, n_fft: int, low_hz: float, high_hz: float
) -> tuple[slice | np.ndarray, np.ndarray, np.ndarray]:
    """Where the T frames begin in the padded window, Hann window (n_fft,), mel bank (n_fft / 2 + 1, n_mels)."""
    # The padding of n_fft / 2 puts the centre of a frame in its middle, so that a frame begins where its centre is here.
    starts: slice | np.ndarray = ((np.arange(frames) + 0.5) * length / frames).astype(np.int64)
    if length % frames == 0 and isinstance(starts, np.ndarray):  # equal steps need no copy
        starts = slice(int(starts[0]), int(starts[-1]) + 1, length // frames)
    window = np.hanning(n_fft + 1)[:-1]
    window = (window / window.sum()).astype(np.float32)  # a full-scale sine has power 0.25 at its bin

    edges_hz = _edges_hz(bands, low_hz, high_hz)
    bins_hz = np.arange(n_fft // 2 + 1) * rate / n_fft
    left, middle, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - left) / (middle - left)
    falling = (right - bins_hz[:, None]) / (right - middle)
    bank = np.maximum(0.0, np.minimum(rising, falling))
    # Low bands can be narrower than a bin and contain none; they take the nearest bin.
    empty = np.flatnonzero(bank.sum(axis=0) < 1e-3)
    bank[np.abs(bins_hz[:, None] - middle[empty]).argmin(axis=0), empty] = 1.0
    return starts, window, bank.astype(np.float32)


def _edges_hz(bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    def mel(hz: float) -> float:
        return float(2595.0 * np.log10(1.0 + hz / 700.0))

    return np.asarray(700.0 * (10 ** (np.linspace(mel(low_hz), mel(high_hz), bands + 2) / 2595.0) - 1.0))
