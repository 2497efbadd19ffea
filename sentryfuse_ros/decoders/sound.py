"""A chunk of sound as it was sent, and whether its samples are sound. `audio` says which faults there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import DecodeError
from .batch import PayloadFault
from .decoder import Rejected

Limits = Mapping[str, float]  # those of `audio.AudioDecoder`

_FULL = 0.99  # of full scale, from which a sample counts as at full scale
_TWO_LEVELS = 0.9  # share of the samples of a chunk at its lowest and its highest level above which it is no sound
_FEW_STEPS = 64  # of 16 bits; quieter chunks may well have two levels


@dataclass
class Sound:
    """One chunk: interleaved samples (n * channels,) as they were sent."""

    stamp_ns: int
    samples: np.ndarray
    channels: int
    rate_hz: int
    zero: float = 0.0
    full_scale: float = 32768.0
    stamped: bool = True  # by a header; False: by its arrival, which follows the last sample
    described: bool = True  # by its message; False: rate and channel count are those of the limits

    def remedy(self, *limits: str) -> str:
        """What to do where the rate or the channel count is wrong; ``limits`` are what it may have been taken from."""
        if self.described:
            return "check the driver"
        return f"set the sensor's parameter {' or '.join(f'limits.{name}' for name in limits)} to what the driver sends"


def check_form(sound: Sound, limits: Limits, msg_type: str) -> tuple[float, float]:
    """Lowest and highest sample of a chunk that may be sound by its form. Raises DecodeError or Rejected for others."""
    samples, count = sound.samples, sound.samples.size
    if sound.channels < 1 or count % max(sound.channels, 1):
        raise DecodeError(
            msg_type,
            f"{count} samples of {sound.channels} channels",
            "at least one channel and as many samples of each",
            sound.remedy("channels"),
        )
    if not limits["min_rate_hz"] <= sound.rate_hz <= limits["max_rate_hz"]:
        raise Rejected(
            PayloadFault.OUT_OF_RANGE,
            f"{msg_type} sample rate",
            f"{sound.rate_hz} Hz",
            f"{limits['min_rate_hz']:g} to {limits['max_rate_hz']:g} Hz",
            sound.remedy("sample_rate_hz"),
        )
    if count == 0:
        raise Rejected(PayloadFault.EMPTY, msg_type, "0 samples", "at least one", "check the driver")
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite(high - low):
        raise Rejected(PayloadFault.NAN, msg_type, "samples that are not finite", "numbers", "check the driver")
    return low, high


def check_levels(sound: Sound, low: float, high: float, limits: Limits, msg_type: str) -> None:
    """Raises Rejected for a chunk whose samples, from ``low`` to ``high``, are no sound, or useless."""
    samples, count = sound.samples, sound.samples.size
    _check_two_levels(sound, low, high, msg_type)
    # A chunk whose values span several steps is loud enough; only for one that is nearly constant the exact RMS is computed.
    silent = limits["silent_rms"] * sound.full_scale
    if silent >= 0 and (
        high == low
        or high - low <= 2 * silent
        or ((high - low) ** 2 <= 4 * count * silent**2 and float(np.std(samples, dtype=np.float64)) < silent)
    ):
        raise Rejected(
            PayloadFault.SILENT,
            msg_type,
            f"all samples {low:g} to {high:g} of {sound.full_scale:g}",
            f"an RMS of at least {limits['silent_rms']:g} of full scale",
            "check the microphone, or lower its parameter limits.silent_rms (-1: never silent)",
        )
    # Many sound cards stop a little below full scale, and so do bytes of 8-bit samples that are read as 16 bits.
    top = sound.full_scale * _FULL
    if high - sound.zero >= top or low - sound.zero <= -top:
        at_full = np.count_nonzero(samples >= top + sound.zero) + np.count_nonzero(samples <= sound.zero - top)
        if at_full > limits["clipped_share"] * count:
            raise Rejected(
                PayloadFault.CLIPPED,
                msg_type,
                f"{at_full / count:.0%} of the samples at full scale",
                f"at most {limits['clipped_share']:.0%}",
                "lower the gain, or raise its parameter limits.clipped_share",
            )


def _check_two_levels(sound: Sound, low: float, high: float, msg_type: str) -> None:
    """Sound that was clipped before it was made quieter stays at two levels."""
    if high - low < _FEW_STEPS / 32768 * sound.full_scale:
        return
    samples = sound.samples
    at_ends = np.count_nonzero(samples == low) + np.count_nonzero(samples == high)
    if at_ends > _TWO_LEVELS * samples.size:
        raise Rejected(
            PayloadFault.CLIPPED,
            msg_type,
            f"{at_ends / samples.size:.0%} of the samples at {low:g} or {high:g}",
            "sound with more than two levels",
            "check the driver's sample format and gain",
        )


def surely_good(samples: np.ndarray, first: Sound, limits: Limits) -> bool:
    """Whether both checks would pass each of the chunks (n, size), which are of one channel and like ``first`` but for their
    samples. It does not look closely: where it says no, all may be good."""
    size = samples.shape[1]
    if not limits["min_rate_hz"] <= first.rate_hz <= limits["max_rate_hz"]:
        return False
    low, high = samples.min(axis=1, keepdims=True), samples.max(axis=1, keepdims=True)
    lowest, highest = low.ravel().tolist(), high.ravel().tolist()
    span = min(top - bottom for top, bottom in zip(highest, lowest))
    silent, top = limits["silent_rms"] * first.full_scale, first.full_scale * _FULL
    if not span or silent >= 0 and (span <= 2 * silent or span**2 <= 4 * size * silent**2):
        return False
    if max(highest) - first.zero >= top or min(lowest) - first.zero <= -top:
        return False
    # Of all chunks together there are fewer samples at the two ends than one of them may have.
    return int(np.count_nonzero((samples == low) | (samples == high))) <= _TWO_LEVELS * size
