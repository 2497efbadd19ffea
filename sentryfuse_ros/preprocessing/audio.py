"""Mono samples -> log-mel spectrogram: T frames of n_mels bands, where frame t is centred on the t-th part of the window.

A frame depends on the samples around it alone, and not on where the window ends. `mel_frames` therefore keeps those of a stream.

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
from typing import NamedTuple

import numpy as np

from ..errors import ParameterError
from ..nanoseconds import NS_PER_S
from .spec import ModalitySpec

DEFAULT_SAMPLE_RATE_HZ = 16000
_GAP_SAMPLES = 4  # stamps further apart than this many samples begin a new stretch; smaller steps are jitter
_TOGETHER = 8  # frames multiplied at once: the last bit of a product depends on the size of its matrix, and must not


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
    """Samples (k,) full scale -1..1 at stamps (k,) [ns], sorted -> (T, n_mels) float32 normalised.

    The first frame may use samples from just before the window.
    """
    return frames(row_stamp_ns, rows, end_ns, mel_plan(spec), 0, spec.shape[0])


class MelPlan(NamedTuple):
    """All that the frames of a model input depend on but the samples, worked out once."""

    rate_hz: int
    n_fft: int
    window_ns: int
    reach_ns: int  # from the centre of a frame to its last sample
    places_ns: np.ndarray  # edges and centres of the T frames' parts of the window, by turns, from its beginning (2 T + 1,)
    fewest: int  # samples that must have been recorded in the part of a frame: half of it
    gap_ns: int  # stamps further apart begin a new stretch
    window: np.ndarray  # Hann (n_fft,)
    bank: np.ndarray  # mel (n_fft / 2 + 1, n_mels)
    floor: np.float32
    mean: np.ndarray | None  # (n_mels,)
    std: np.ndarray | None


def mel_plan(spec: ModalitySpec) -> MelPlan:
    """The plan of a model input."""
    total, bands = spec.shape
    rate, n_fft, low_hz, high_hz = _plan_options(spec)
    window_ns = round(spec.window_s * NS_PER_S)
    window, bank = _filters(bands, rate, n_fft, low_hz, high_hz)
    return MelPlan(
        rate,
        n_fft,
        window_ns,
        _reach_ns(n_fft, rate),
        np.arange(2 * total + 1) * window_ns // (2 * total),
        -(-ceil(spec.window_s * rate) // (2 * total)),
        _GAP_SAMPLES * NS_PER_S // rate,
        window,
        bank,
        np.float32(spec.options.get("log_floor", 1e-8)),
        spec.channel_mean if spec.mean else None,
        spec.channel_std if spec.std else None,
    )


def frames(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, plan: MelPlan, first: int, stop: int) -> np.ndarray:
    """Frames ``first`` to ``stop`` - 1 of `model_input`: (stop - first, n_mels)."""
    end_ns = int(end_ns)
    end = int(row_stamp_ns.searchsorted(end_ns, side="right"))
    stamps, samples = row_stamp_ns[:end], rows[:end]  # what comes after the window is unknown: silence
    places_ns = plan.places_ns[2 * first : 2 * stop + 1] + (end_ns - plan.window_ns)
    upto = stamps.searchsorted(places_ns[::2], side="right")
    silent = upto[1:] - upto[:-1] < plan.fewest
    silences = np.count_nonzero(silent)
    if silences == stop - first:
        return np.zeros((stop - first, plan.bank.shape[1]), np.float32)
    out = _log_mel(_pieces(stamps, samples, places_ns[1::2] + plan.reach_ns, plan), plan)
    if plan.mean is not None:
        out -= plan.mean
    if plan.std is not None:
        out /= plan.std
    if silences:
        out[silent] = 0.0
    return out


def reach_ns(spec: ModalitySpec) -> int:
    """How far samples that a frame depends on are from its centre, at most [ns]."""
    rate, n_fft, _, _ = _plan_options(spec)
    return max(_reach_ns(n_fft, rate), round(spec.window_s * NS_PER_S) // (2 * spec.shape[0]))


def _reach_ns(n_fft: int, rate: int) -> int:
    return round(n_fft * NS_PER_S / (2 * rate))


def _pieces(stamps: np.ndarray, samples: np.ndarray, frame_end_ns: np.ndarray, plan: MelPlan) -> np.ndarray:
    """The ``n_fft`` samples up to the end of each frame (m, n_fft); 0 where nothing was recorded."""
    n_fft = plan.n_fft
    upto = stamps.searchsorted(frame_end_ns, side="right")
    low, high = max(int(upto[0]) - n_fft, 0), int(upto[-1])
    if not high:
        return np.zeros((len(frame_end_ns), n_fft), np.float32)
    stamps, samples, upto = stamps[low:high], samples[low:high], upto - low
    # A stretch without a gap is placed as a whole, by its last sample. Rounding the stamp of every sample to a grid would leave
    # holes and doubles, which show as clicks in a spectrogram.
    if np.count_nonzero(stamps[1:] - stamps[:-1] > plan.gap_ns):
        own = [slice(max(int(k) - n_fft, 0), int(k)) for k in upto]
        return np.stack([_placed(stamps[k], samples[k], int(end), plan) for k, end in zip(own, frame_end_ns, strict=True)])
    if upto[0]:
        filled = _filled(stamps[upto - 1] - frame_end_ns, plan)
    else:  # the first frames end before the first sample
        filled = np.where(upto > 0, _filled(stamps[np.maximum(upto - 1, 0)] - frame_end_ns, plan), 0)
    padded = np.zeros(len(samples) + 2 * n_fft, np.float32)
    padded[n_fft : n_fft + len(samples)] = samples
    every = np.ndarray((len(samples) + n_fft + 1, n_fft), np.float32, padded, 0, 2 * padded.strides)  # one at every sample
    pieces = every[n_fft + upto - filled]
    for k, count in enumerate(filled.tolist()):
        if count < n_fft:
            pieces[k, count:] = 0.0  # samples after the frame's end are not part of it
    return pieces


def _placed(stamps: np.ndarray, samples: np.ndarray, frame_end_ns: int, plan: MelPlan) -> np.ndarray:
    """One frame (n_fft,) from the last samples before its end, between which there are gaps."""
    frame = np.zeros(plan.n_fft, np.float32)
    gaps = np.flatnonzero(stamps[1:] - stamps[:-1] > plan.gap_ns) + 1
    for begin, end in zip((0, *gaps.tolist()), (*gaps.tolist(), len(stamps)), strict=True):
        stop = int(_filled(stamps[end - 1 : end] - frame_end_ns, plan)[0]) if end else 0
        count = min(stop, end - begin)
        frame[stop - count : stop] = samples[end - count : end]
    return frame


def _filled(after_end_ns: np.ndarray, plan: MelPlan) -> np.ndarray:
    """How many samples of a frame are over with the sample that is at this time after the frame's end [ns]."""
    after = np.ceil(after_end_ns * (plan.rate_hz / NS_PER_S) - 1e-3).astype(np.int64)
    return np.minimum(np.maximum(after + plan.n_fft, 0), plan.n_fft)


def log_mel(signal: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    """Signal (W,) of the whole window -> (T, n_mels) float32, natural logarithm of band power, not normalised."""
    plan = mel_plan(spec)
    n_fft = plan.n_fft
    padded = np.zeros(len(signal) + n_fft + n_fft // 2, np.float32)
    padded[n_fft // 2 : n_fft // 2 + len(signal)] = signal
    pieces = np.ndarray((len(padded) - n_fft + 1, n_fft), np.float32, padded, 0, 2 * padded.strides)
    # The padding of n_fft / 2 puts the centre of a frame in its middle, so that a frame begins where its centre is here.
    return _log_mel(pieces[((np.arange(spec.shape[0]) + 0.5) * len(signal) / spec.shape[0]).astype(np.int64)], plan)


def _log_mel(pieces: np.ndarray, plan: MelPlan) -> np.ndarray:
    """Samples of each frame (m, n_fft) -> (m, n_mels)."""
    window, bank = plan.window, plan.bank
    spectrum = np.fft.rfft(pieces * window, axis=1)  # (m, n_fft / 2 + 1)
    power = np.zeros((-(-len(pieces) // _TOGETHER) * _TOGETHER, bank.shape[0]), np.float32)
    power[: len(pieces)] = spectrum.real**2 + spectrum.imag**2
    bands = (power.reshape(-1, _TOGETHER, bank.shape[0]) @ bank).reshape(-1, bank.shape[1])[: len(pieces)]
    return np.log(bands + plan.floor)


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
def _filters(bands: int, rate: int, n_fft: int, low_hz: float, high_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Hann window (n_fft,), mel bank (n_fft / 2 + 1, n_mels)."""
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
    return window, bank.astype(np.float32)


@lru_cache(maxsize=32)
def _edges_hz(bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    def mel(hz: float) -> float:
        return float(2595.0 * np.log10(1.0 + hz / 700.0))

    edges_hz = np.asarray(700.0 * (10 ** (np.linspace(mel(low_hz), mel(high_hz), bands + 2) / 2595.0) - 1.0))
    edges_hz.setflags(write=False)
    return edges_hz
