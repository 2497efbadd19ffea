"""Which format the bytes of an audio message have, where the message does not say and S16LE samples are expected.

Compressed sound is told by the marks of its format, and other sample formats by how their bytes are distributed: in each format
some bytes of a sample vary with every step and others hardly at all. Every test is built so that S16LE sound, loud or quiet,
fails it. Sources: ISO/IEC 11172-3 2.4.1.3 (MP3 frame header), ISO/IEC 13818-7 6.2 (ADTS), RFC 3533 (Ogg).
"""

from __future__ import annotations

import numpy as np

_MARKS = {
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"ID3": "MP3",
    b"RIFF": "WAV with its header",
    b"\x1aE\xdf\xa3": "WebM",
    b"#!AMR": "AMR",
}
_SAMPLE_BYTES = 1536  # looked at, at the beginning: whole samples of 2, 3 and 4 bytes
_LEAST_BYTES = 96  # fewer say too little
_SURE = 0.95  # share of the samples that must fit
# MPEG-1 and MPEG-2 bit rates [kbit/s] of layer III by their index, and sample rates [Hz] by version and index
_KBITS = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
FRAMES_BYTES = 6144  # of a stream, in which the frames of MP3 and AAC at usual bit rates can be recognised
_FRAMES = 3  # in a row: of random bytes, one message in 1e11 has them
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def foreign_format(data: np.ndarray) -> str:
    """Name of the format of a chunk's bytes (n,) uint8 if it is not S16LE; "" where it is, or where nothing can be said.

    MP3 and AAC are recognised by `has_frames`, which needs more than one chunk.
    """
    head = data[:8].tobytes()
    mark = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "")
    if mark:
        return mark
    if data.size < _LEAST_BYTES:
        return ""
    return _sample_format(data[: min(_SAMPLE_BYTES, data.size // 12 * 12)])


def has_frames(data: np.ndarray) -> bool:
    """Whether a stretch of a stream (n,) uint8 holds frames of MP3 or AAC (ADTS), one after the other."""
    if data.size < 16:
        return False
    first, second, third = data[:-7], data[1:-6], data[2:-5]
    layer = second >> 1 & 3
    bit_rate = third >> 4
    mp3 = (second >= 0xE0) & (layer == 1) & (second >> 3 & 3 != 1) & (third >> 2 & 3 != 3) & (bit_rate != 0) & (bit_rate != 15)
    adts = (second >= 0xF0) & (layer == 0) & (third >> 2 & 15 < 13)
    begins = {int(at) for at in np.flatnonzero((first == 0xFF) & (mp3 | adts))}
    for begin in begins:
        at, frames = begin, 0
        while at in begins and data[at + 1] == data[begin + 1]:
            frames += 1
            if frames == _FRAMES:
                return True
            at += max(_frame_bytes(data[at : at + 7].tobytes()), 1)
    return False


def _frame_bytes(head: bytes) -> int:
    """Length of the frame with this header of 7 bytes."""
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:  # ADTS
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    bit_rate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    kbits = _KBITS[3 if version == 3 else 2][bit_rate - 1]
    return (144 if version == 3 else 72) * kbits * 1000 // _RATES_HZ[version][rate] + padding


def _sample_format(data: np.ndarray) -> str:
    """The sample format of raw bytes (n,), n a multiple of 12; "" for S16LE or none of the known ones."""
    # Floats of sound have exponents of 2^-24 to 2^1. As 16-bit samples these are loud ones in two narrow bands, always in turn
    # with any others.
    size = np.abs(data.view("<f4"))
    with np.errstate(invalid="ignore"):
        fits = (size >= 2.0**-24) & (size <= 2.0)
    if np.count_nonzero(fits | (size == 0)) >= _SURE * size.size and fits.any():
        return "F32"
    # Bytes about 128 that hardly change from one to the next; the low byte of a 16-bit sample takes any value.
    level = data.astype(np.int16)
    if np.abs(level - 128).mean() < 64 and np.count_nonzero(np.abs(np.diff(level)) < 24) >= _SURE * level.size:
        return "U8"
    # The high bytes of quiet samples are 0 or 255, at every second byte from the second (S16LE) or first on, or every third.
    if _only_quiet_at(data, 3, 2):
        return "S24"
    if _only_quiet_at(data, 2, 0):
        return "S16BE"
    return ""


def _only_quiet_at(data: np.ndarray, step: int, at: int) -> bool:
    """Whether every ``step``-th byte from ``at`` on is the high byte of a quiet sample, of either sign, and few others are."""
    signed = data.view(np.int8).reshape(-1, step)
    high = signed[:, at]
    others = np.delete(signed, at, axis=1)
    return bool(
        ((high >= -24) & (high < 24)).mean() >= _SURE
        and 0.05 < (high < 0).mean() < 0.95
        and ((others >= -8) & (others < 8)).mean(axis=0).max() < 0.5
    )
