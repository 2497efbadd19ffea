"""Audio messages -> rows (k,) mono float32, full scale -1..1, at the sample rate of the model's input.

Read are sentryfuse_ros/AudioChunk; audio_common_msgs/AudioData and AudioDataStamped of ros-drivers, whose bytes must be S16LE
PCM (``format: wave`` of the capture node; other formats are recognised and refused, see `audio_formats`); and
audio_common_msgs/AudioStamped, which carries format, channel count and rate (PortAudio's names). Messages without a rate or a
channel count take both from the limits. A message without a header is stamped by its arrival, minus the duration of its samples.
Of a chunk that is longer than the model's window only the newest part is used.

Rows continue smoothly from chunk to chunk: the clock of the samples follows stamps that jitter around it slowly, and a stamp
that jumps begins a new stretch.

Faults: EMPTY, no samples; SILENT, all samples equal, or an RMS below that of any microphone (even a quiet room has noise);
CLIPPED, too many samples at full scale, or hardly any between two levels; OUT_OF_RANGE, a rate that no sound card has, or that
the stamps contradict (`claimed_rate`); NAN, float samples that are not finite; UNSUPPORTED, compressed sound or another format.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from ..errors import DecodeError
from ..nanoseconds import NS_PER_S
from ..preprocessing.audio import sample_rate_hz
from ..preprocessing.spec import ModalitySpec
from .audio_formats import FRAMES_BYTES, foreign_format, has_frames
from .batch import PayloadFault
from .cdr import CdrReader, ForeignEncoding, field_array, message_stamp_ns
from .claimed_rate import ClaimedRate
from .decoder import MessageDecoder, Rejected
from .resampling import Resampler

# PortAudio sample format -> field of audio_common_msgs/AudioData, sample type, zero level, full scale
_PORT_AUDIO = {
    1: ("float32_data", "f4", 0.0, 1.0),
    2: ("int32_data", "i4", 0.0, 2.0**31),
    4: ("int24_data", "i4", 0.0, 2.0**23),
    8: ("int16_data", "i2", 0.0, 32768.0),
    16: ("int8_data", "i1", 0.0, 128.0),
    32: ("uint8_data", "u1", 128.0, 128.0),
}
_JITTER_S = 0.01  # a stamp within this of the sample clock, or within half a chunk, continues the stretch [s]
_LONGEST_S = 10.0  # of a chunk where there is no model
_MOST_SAMPLES = 4_000_000  # of a chunk, all channels together; a longer one is cut
_WHOLE_BYTES = 1 << 16  # of a longer chunk, the fingerprint is taken from a part
_FULL = 0.99  # of full scale, from which a sample counts as at full scale
_TWO_LEVELS = 0.9  # share of the samples of a chunk at its lowest and its highest level above which it is no sound
_FEW_STEPS = 64  # of 16 bits; quieter chunks may well have two levels
_PULL = 1 / 8  # share of the deviation of a stamp that the sample clock follows per chunk


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


class AudioDecoder(MessageDecoder[Sound]):
    """Decoder of the message types above. A new stretch of sound begins after a fault, a gap or a jump of the stamps."""

    kind = "audio"
    msg_types = (
        "sentryfuse_ros/msg/AudioChunk",
        "audio_common_msgs/msg/AudioData",
        "audio_common_msgs/msg/AudioDataStamped",
        "audio_common_msgs/msg/AudioStamped",
    )
    default_limits = {
        "sample_rate_hz": 16000,  # of messages without a rate; the default of audio_common's capture node
        "channels": 1,  # of messages without a channel count
        # RMS about the mean, of full scale 1, below which the microphone is dead. A tenth of a 16-bit step, which is what
        # one sample in a hundred that is one step off gives. Negative: never.
        "silent_rms": 3e-6,
        "clipped_share": 0.2,  # share of samples at full scale above which the sound is useless
        "min_rate_hz": 1000,  # a lower or higher rate than these two is OUT_OF_RANGE
        "max_rate_hz": 400000,
    }

    def __init__(
        self,
        msg_type: str = "",
        spec: ModalitySpec | None = None,
        limits: Mapping[str, float] | None = None,
        deserialize: Callable[[bytes], Any] | None = None,
    ) -> None:
        super().__init__(msg_type, spec, limits, deserialize)
        self._rate_out_hz = sample_rate_hz(spec) if spec is not None else 0
        self._resampler: Resampler | None = None
        self._due_ns: int | None = None  # when the sample after the last chunk is due
        self._sample_ns = 0.0  # time from sample to sample in the last chunk
        self._claimed = ClaimedRate()
        self._stream = np.empty(0, np.uint8)  # the newest bytes, whose format is looked at

    def reset(self) -> None:
        """Begin a new stretch of sound."""
        self._due_ns = None
        self._claimed.reset()

    def after_refusal(self) -> None:
        self._due_ns = None

    def read(self, message: Any) -> Sound:
        sound = super().read(message)
        if sound.channels > 0 and sound.rate_hz > 0:
            seconds = self.spec.window_s if self.spec is not None else _LONGEST_S
            most = min(ceil(seconds * sound.rate_hz), _MOST_SAMPLES // sound.channels)
            surplus = sound.samples.size // sound.channels - most
            if surplus > 0:
                sound.samples = sound.samples[surplus * sound.channels :]
                if sound.stamp_ns:
                    sound.stamp_ns += round(surplus * NS_PER_S / sound.rate_hz)
        return sound

    def stamp_by_arrival(self, sound: Sound, arrival_ns: int) -> None:
        sound.stamp_ns, sound.stamped = arrival_ns, False

    def read_raw(self, reader: CdrReader) -> Sound:
        name = self.msg_type.rpartition("/")[2]
        if name == "AudioChunk":
            stamp_ns, rate_hz, channels = reader.header(), reader.uint32(), reader.uint8()
            return Sound(stamp_ns, reader.array("<i2"), channels, rate_hz)
        stamped = name != "AudioData"
        if name == "AudioStamped":
            raise ForeignEncoding(
                f"{self.msg_type} layout",
                "raw bytes",
                "a message object",
                "pass the deserialize function: this type is not read in place",
            )
        try:
            stamp_ns = reader.header() if stamped else 0
            data = reader.array(np.uint8)
            if reader.left >= 4:  # more than padding: another package's message of the same name
                raise DecodeError(self.msg_type, f"{reader.size} bytes", f"{reader.offset}")
        except DecodeError as error:
            raise ForeignEncoding(
                f"{self.msg_type} layout",
                f"{reader.size} bytes that do not fit it",
                "ros-drivers' audio_common_msgs",
                "pass the deserialize function",
            ) from error
        return self._sound_by_limits(stamp_ns, self._pcm16(data), stamped)

    def read_object(self, message: Any) -> Sound:
        if hasattr(message, "samples"):
            return Sound(
                message_stamp_ns(message), field_array(message.samples, np.int16), int(message.channels), int(message.sample_rate)
            )
        stamped = hasattr(message, "header")
        stamp_ns = message_stamp_ns(message) if stamped else 0
        info = None
        while not hasattr(message, "data") and not hasattr(message, "int16_data"):
            info = getattr(message, "info", info)
            inner = getattr(message, "audio_data", None)
            message = inner if inner is not None else message.audio
        if hasattr(message, "data"):
            return self._sound_by_limits(stamp_ns, self._pcm16(field_array(message.data, np.uint8)), stamped)
        code = (
            int(info.format)
            if info is not None
            else next((code for code, (field, *_) in _PORT_AUDIO.items() if len(getattr(message, field, ()))), 8)
        )
        if code not in _PORT_AUDIO:
            raise Rejected(
                PayloadFault.UNSUPPORTED,
                f"{self.msg_type} sample format",
                code,
                "a PortAudio code of " + ", ".join(map(str, _PORT_AUDIO)),
                "change the driver's format",
            )
        field, dtype, zero, full_scale = _PORT_AUDIO[code]
        sound = self._sound_by_limits(stamp_ns, field_array(getattr(message, field), dtype), stamped)
        sound.zero, sound.full_scale = zero, full_scale
        if info is not None:
            sound.channels, sound.rate_hz = int(info.channels), int(info.rate)
        return sound

    def _sound_by_limits(self, stamp_ns: int, samples: np.ndarray, stamped: bool) -> Sound:
        """A chunk whose rate and channel count are those of the limits."""
        return Sound(stamp_ns, samples, int(self.limits["channels"]), int(self.limits["sample_rate_hz"]), stamped=stamped)

    def _pcm16(self, data: np.ndarray) -> np.ndarray:
        self._stream = np.concatenate((self._stream, data[-FRAMES_BYTES:]))[-FRAMES_BYTES:]
        name = foreign_format(data) or ("MP3 or AAC" if has_frames(self._stream) else "")
        if name:
            raise Rejected(
                PayloadFault.UNSUPPORTED,
                f"{self.msg_type} data",
                f"{name} ({data[:4].tobytes().hex()}...)",
                "S16LE samples",
                "set the capture node's format to wave, and its sample format to S16LE",
            )
        if data.size % 2:
            raise DecodeError(
                f"{self.msg_type} data",
                f"{data.size} bytes",
                "whole 16-bit samples",
                "set the capture node's format to wave, S16LE",
            )
        return data.view("<i2")

    def fingerprint(self, sound: Sound) -> int:
        samples = np.ascontiguousarray(sound.samples)
        size = samples.size
        if samples.nbytes > _WHOLE_BYTES:
            samples = np.ascontiguousarray(samples[:: -(-samples.nbytes // _WHOLE_BYTES)])
        return zlib.crc32(samples.data) | (size & 0xFFFFFFFF) << 32

    def check(self, sound: Sound) -> None:
        limits, samples, count = self.limits, sound.samples, sound.samples.size
        if sound.channels < 1 or count % max(sound.channels, 1):
            raise DecodeError(
                self.msg_type,
                f"{count} samples of {sound.channels} channels",
                "at least one channel and as many samples of each",
                "check the driver",
            )
        if not limits["min_rate_hz"] <= sound.rate_hz <= limits["max_rate_hz"]:
            raise Rejected(
                PayloadFault.OUT_OF_RANGE,
                f"{self.msg_type} sample rate",
                f"{sound.rate_hz} Hz",
                f"{limits['min_rate_hz']:g} to {limits['max_rate_hz']:g} Hz",
                "check the driver",
            )
        if count == 0:
            raise Rejected(PayloadFault.EMPTY, self.msg_type, "0 samples", "at least one", "check the driver")
        low, high = float(samples.min()), float(samples.max())
        if not np.isfinite(high - low):
            raise Rejected(PayloadFault.NAN, self.msg_type, "samples that are not finite", "numbers", "check the driver")
        self._check_claimed_rate(sound)
        self._check_levels(sound, low, high)
        # A chunk whose values span several steps is loud enough; only for one that is nearly constant the exact RMS is computed.
        silent = limits["silent_rms"] * sound.full_scale
        if silent >= 0 and (
            high == low
            or high - low <= 2 * silent
            or ((high - low) ** 2 <= 4 * count * silent**2 and float(np.std(samples, dtype=np.float64)) < silent)
        ):
            raise Rejected(
                PayloadFault.SILENT,
                self.msg_type,
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
                    self.msg_type,
                    f"{at_full / count:.0%} of the samples at full scale",
                    f"at most {limits['clipped_share']:.0%}",
                    "lower the gain, or raise its parameter limits.clipped_share",
                )

    def _check_levels(self, sound: Sound, low: float, high: float) -> None:
        """Sound that was clipped before it was made quieter stays at two levels."""
        if high - low < _FEW_STEPS / 32768 * sound.full_scale:
            return
        samples = sound.samples
        at_ends = np.count_nonzero(samples == low) + np.count_nonzero(samples == high)
        if at_ends > _TWO_LEVELS * samples.size:
            raise Rejected(
                PayloadFault.CLIPPED,
                self.msg_type,
                f"{at_ends / samples.size:.0%} of the samples at {low:g} or {high:g}",
                "sound with more than two levels",
                "check the driver's sample format and gain",
            )

    def _check_claimed_rate(self, sound: Sound) -> None:
        if not sound.stamped or not sound.stamp_ns or self.limits["use_arrival_stamp"]:
            return  # a time of arrival says when a driver or a network was free
        true_hz = self._claimed.true_rate_hz(sound.stamp_ns, sound.samples[:: sound.channels], sound.rate_hz)
        if true_hz:
            raise Rejected(
                PayloadFault.OUT_OF_RANGE,
                f"{self.msg_type} sample rate",
                f"{sound.rate_hz} Hz claimed of samples that come at about {true_hz:.0f} Hz by their stamps",
                "the rate of the samples",
                "correct the driver's sample rate, or set trust_stamps: false if its stamps are wrong",
            )

    def rows(self, sound: Sound, spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (m,) [ns] and mono samples (m,) at the model's rate."""
        mono = sound.samples.astype(np.float32)
        if sound.channels > 1:
            mono = mono.reshape(-1, sound.channels) @ np.full(sound.channels, 1 / sound.channels, np.float32)
        mono = (mono - np.float32(sound.zero)) * np.float32(1 / sound.full_scale)
        if self._resampler is None or self._resampler.rate_in_hz != sound.rate_hz:
            self._resampler, self._due_ns = Resampler(sound.rate_hz, self._rate_out_hz), None
        length_ns = len(mono) * NS_PER_S / sound.rate_hz
        stamp_ns = sound.stamp_ns - (0 if sound.stamped else round(length_ns))
        due_ns = self._due_ns
        # Stamps taken at arrival have the jitter of the scheduler and the network on top.
        tolerance_ns = max(_JITTER_S * NS_PER_S, length_ns / 2) * (1 if sound.stamped else 4)
        if due_ns is None or abs(stamp_ns - due_ns) > tolerance_ns:
            self._resampler.reset()
            due_ns, self._sample_ns = stamp_ns, 0.0
        begin_ns, late_ns = due_ns, stamp_ns - due_ns
        # Within the chunk the clock is stretched towards the chunk's stamp, but never so far that it runs backwards.
        sample_ns = (length_ns + max(late_ns * _PULL, -length_ns / 2)) / len(mono)
        self._due_ns = begin_ns + round(sample_ns * len(mono))
        rows, positions = self._resampler(mono)
        # Outputs that the filter held back lie before this chunk and keep the pace of the chunk they belong to.
        pace = np.where(positions < 0, self._sample_ns or sample_ns, sample_ns)
        self._sample_ns = sample_ns
        return begin_ns + np.rint(positions * pace).astype(np.int64), rows
