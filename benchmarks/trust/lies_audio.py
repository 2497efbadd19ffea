"""Lies of a microphone, made in sentryfuse_ros/AudioChunk messages."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

from sentryfuse_ros.decoders.cdr import CdrReader

from .lie import Lie

_FULL = 32767


def _chunk(raw: bytes) -> tuple[bytes, int, np.ndarray]:
    """Header, rate [Hz] and samples (n,) int16 of one channel."""
    reader = CdrReader(raw, "AudioChunk")
    reader.header()
    head = raw[: reader.offset]
    rate_hz, _ = reader.uint32(), reader.uint8()
    return head, rate_hz, reader.array("<i2")


def _message(head: bytes, rate_hz: int, samples: np.ndarray) -> bytes:
    out = bytearray(head)
    out.extend(bytes(-(len(out) - 4) % 4))
    out += struct.pack("<IBxxxI", rate_hz, 1, len(samples)) + np.asarray(samples, "<i2").tobytes()
    return bytes(out)


def on_samples(change: Callable[[np.ndarray, np.random.Generator], np.ndarray], rate: float = 1.0) -> Callable:
    """A change of the samples (n,) float32, full scale 1, of a whole recording; ``rate``: factor on the rate that is claimed."""

    def messages(raw: Sequence[bytes], random: np.random.Generator) -> list[bytes]:
        heads, rates, chunks = zip(*map(_chunk, raw), strict=True)
        edges = np.cumsum([len(chunk) for chunk in chunks])[:-1]
        sound = np.concatenate(chunks).astype(np.float32) / _FULL
        out = np.clip(np.rint(change(sound, random) * _FULL), -_FULL, _FULL).astype(np.int16)
        return [
            _message(head, round(hz * rate), samples)
            for head, hz, samples in zip(heads, rates, np.split(out, edges), strict=True)
        ]

    return messages


def _gain(db: float) -> Callable:
    return on_samples(lambda s, _: s * np.float32(10 ** (db / 20)))


def _bytes(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """A change of the bytes (2 n,) of the samples, which keeps their number."""

    def samples(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
        raw = np.rint(sound * _FULL).astype("<i2").view(np.uint8)
        return np.ascontiguousarray(change(raw, random)).view("<i2").astype(np.float32) / _FULL

    return on_samples(samples)


def _as_float(raw: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """The first half of the samples as 32-bit floats, whose bytes take the place of all."""
    samples = raw.view("<i2")
    return (samples[: len(samples) // 2].astype("<f4") / _FULL).view(np.uint8)


def _as_s32(raw: np.ndarray, _: np.random.Generator) -> np.ndarray:
    samples = raw.view("<i2")
    return (samples[: len(samples) // 2].astype("<i4") << 16).view(np.uint8)


def _as_u8(raw: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.repeat((raw.view("<i2") // 256 + 128).astype(np.uint8), 2)


def _halved(sound: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Sound of half the rate: every second sample is sent twice."""
    return np.repeat(sound[::2], 2)[: len(sound)]


def _fast(sound: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Sound that is played twice as fast, and repeated to fill the time."""
    chunk = 8000
    out = sound.copy()
    for start in range(0, len(sound) - chunk + 1, chunk):
        fast = sound[start : start + chunk].reshape(-1, 2).mean(axis=1)
        out[start : start + chunk] = np.concatenate((fast, fast))
    return out


def _gated(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every second 10 ms is missing: noise of the last bit in its place."""
    out = sound.copy()
    gone = (np.arange(len(sound)) // 160) % 2 == 1
    out[gone] = random.normal(0, 1.5 / _FULL, int(gone.sum()))
    return out


def _interleaved(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Two channels, the second of them silent, sent as one."""
    out = np.repeat(sound[::2], 2)[: len(sound)].copy()
    out[1::2] = random.normal(0, 1 / _FULL, len(out[1::2]))
    return out


def _tone(hz: float, level: float) -> Callable:
    return on_samples(lambda s, _: s + np.float32(level) * np.sin(2 * np.pi * hz / 16000 * np.arange(len(s), dtype=np.float32)))


def _muffled(sound: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Hardly anything above 200 Hz."""
    kernel = np.hanning(161)
    return np.convolve(sound, (kernel / kernel.sum()).astype(np.float32), "same")


def _thin(sound: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Hardly anything below 3 kHz: differences of differences."""
    return np.diff(np.diff(sound, prepend=0), prepend=0)


def _shuffled(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Pieces of 2 ms in a random order within 100 ms."""
    pieces = sound[: len(sound) // 1600 * 1600].reshape(-1, 50, 32).copy()
    for block in pieces:
        random.shuffle(block)
    return np.concatenate((pieces.reshape(-1), sound[pieces.size :]))


LIES = (
    Lie(
        "audio",
        "compressed_bytes",
        "bytes of compressed sound",
        _bytes(lambda b, r: r.integers(0, 256, b.shape).astype(np.uint8)),
    ),
    Lie("audio", "floats", "32-bit floats", _bytes(_as_float)),
    Lie("audio", "s32", "32-bit integers", _bytes(_as_s32)),
    Lie("audio", "u8", "8-bit samples", _bytes(_as_u8)),
    Lie(
        "audio",
        "bytes_swapped",
        "the two bytes of a sample exchanged",
        _bytes(lambda b, _: b.reshape(-1, 2)[:, ::-1].reshape(-1)),
    ),
    Lie("audio", "rate_claimed_double", "32 kHz claimed of 16 kHz", on_samples(lambda s, _: s, 2)),
    Lie("audio", "rate_claimed_half", "8 kHz claimed of 16 kHz", on_samples(lambda s, _: s, 0.5)),
    Lie("audio", "rate_claimed_44100", "44.1 kHz claimed of 16 kHz", on_samples(lambda s, _: s, 44.1 / 16)),
    Lie("audio", "rate_aliased", "sound of half the rate, each sample twice", on_samples(_halved)),
    Lie("audio", "played_fast", "played twice as fast, and repeated", on_samples(_fast)),
    Lie("audio", "stereo_as_mono", "two channels, one of them silent, sent as one", on_samples(_interleaved)),
    Lie("audio", "gain_plus_24", "a gain of 24 dB too much", _gain(24)),
    Lie("audio", "gain_plus_12", "a gain of 12 dB too much", _gain(12)),
    Lie("audio", "gain_minus_15", "a gain of 15 dB too little", _gain(-15)),
    Lie("audio", "gain_minus_30", "a gain of 30 dB too little", _gain(-30)),
    Lie("audio", "offset", "an offset of 0.3 of full scale", on_samples(lambda s, _: s + np.float32(0.3))),
    Lie("audio", "gated", "every second 10 ms missing", on_samples(_gated)),
    Lie("audio", "muffled", "hardly anything above 200 Hz", on_samples(_muffled)),
    Lie("audio", "thin", "hardly anything below 3 kHz", on_samples(_thin)),
    Lie("audio", "hum", "50 Hz at half of full scale on top", _tone(50, 0.5)),
    Lie("audio", "whistle", "2 kHz at a tenth of full scale on top", _tone(2000, 0.1)),
    Lie(
        "audio",
        "white_noise",
        "noise of 0.05 of full scale in its place",
        on_samples(lambda s, r: r.normal(0, 0.05, s.shape).astype(np.float32)),
    ),
    Lie("audio", "shuffled", "pieces of 2 ms in a random order", on_samples(_shuffled)),
    Lie("audio", "one_bit", "two levels only", on_samples(lambda s, r: np.sign(s) * np.float32(0.1))),
    Lie("audio", "inverted", "of the opposite sign", on_samples(lambda s, _: -s)),
)
