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
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from math import ceil
from typing import Any

import numpy as np

from ..errors import DecodeError
from ..nanoseconds import NS_PER_S
from ..preprocessing.audio import sample_rate_hz
from ..preprocessing.spec import ModalitySpec
from .audio_formats import FRAMES_BYTES, foreign_format, has_frames
from .batch import Batch, PayloadFault
from .cdr import CdrReader, ForeignEncoding, field_array, message_stamp_ns
from .claimed_rate import ClaimedRate
from .decoder import MessageDecoder, Rejected
from .resampling import Resampler
from .sample_clock import SampleClock
from .sound import Sound, check_form, check_levels, surely_good

# PortAudio sample format -> field of audio_common_msgs/AudioData, sample type, zero level, full scale
_PORT_AUDIO = {
    1: ("float32_data", "f4", 0.0, 1.0),
    2: ("int32_data", "i4", 0.0, 2.0**31),
    4: ("int24_data", "i4", 0.0, 2.0**23),
    8: ("int16_data", "i2", 0.0, 32768.0),
    16: ("int8_data", "i1", 0.0, 128.0),
    32: ("uint8_data", "u1", 128.0, 128.0),
}
_LONGEST_S = 10.0  # of a chunk where there is no model
_MOST_SAMPLES = 4_000_000  # of a chunk, all channels together; a longer one is cut
_WHOLE_BYTES = 1 << 16  # of a longer chunk, the fingerprint is taken from a part
_ALIKE_TYPE = "sentryfuse_ros/msg/AudioChunk"  # whose messages say all that has to be known to read them


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
        self._clock = SampleClock()
        self._claimed = ClaimedRate()
        self.reset()

    def reset(self) -> None:
        """Begin a new stretch of sound."""
        self._clock.reset()
        self._claimed.reset()
        self._stream = np.empty(0, np.uint8)  # the newest bytes, whose format is looked at

    def after_refusal(self) -> None:
        self._clock.reset()

    def decode(self, messages: Sequence[Any], arrival_stamp_ns: Sequence[int] | np.ndarray | None = None) -> Batch:
        """See `Decoder`. Chunks that are alike are looked at together, which takes less time, if that shows that all are good."""
        if len(messages) > 1 and arrival_stamp_ns is None and self.msg_type == _ALIKE_TYPE:
            sounds = self._alike(messages)
            batch = self._decode_alike(sounds) if sounds else None
            if batch is not None:
                return batch
        return super().decode(messages, arrival_stamp_ns)

    def _alike(self, messages: Sequence[Any]) -> list[Sound]:
        """What the messages hold, if they are chunks of one channel, one rate and one number of samples, and rows are made of all
        of them or of none; else nothing. Nothing is remembered of them."""
        if self.spec is not None and 0 < self.rows_from < len(messages):
            return []
        try:
            sounds = [self.read(message) for message in messages]
        except Exception:  # the message that is at fault is found where each is looked at alone
            return []
        size, rate_hz = sounds[0].samples.size, sounds[0].rate_hz
        alike = size > 0 and all(s.samples.size == size and s.rate_hz == rate_hz and s.channels == 1 for s in sounds)
        return sounds if alike else []

    def _decode_alike(self, sounds: Sequence[Sound]) -> Batch | None:
        """The batch of chunks that are `_alike`, to the bit that of `decode`. Where one of them may have a fault it is None, and
        nothing is remembered of them."""
        samples = np.concatenate([sound.samples for sound in sounds]).reshape(len(sounds), -1)  # (n, size) int16
        if not surely_good(samples, sounds[0], self.limits) or not (self.spec is None or self._keeps_rate(sounds[0])):
            return None
        claimed = copy(self._claimed)
        if any([self._rate_by_stamps(sound) for sound in sounds]):
            self._claimed = claimed
            return None
        n, size = samples.shape
        batch = Batch(
            np.array([sound.stamp_ns for sound in sounds], np.int64),
            np.zeros(n, np.uint8),
            np.array([self.fingerprint(sound) for sound in sounds], np.uint64),
            np.empty(0, np.int64),
            self._no_rows(),
        )
        if self.spec is not None and self.rows_from == 0:
            times = [self._clock.follow(sound.stamp_ns, size, sound.rate_hz, True) for sound in sounds]
            after = np.arange(size, dtype=np.float64) * np.array([[chunk.sample_ns] for chunk in times])
            begins = np.array([[chunk.begin_ns] for chunk in times], np.int64)
            batch.row_stamp_ns = (begins + np.rint(after).astype(np.int64)).reshape(-1)
            batch.rows = self._full_scale_1(samples.reshape(-1).astype(np.float32), sounds[0])
        return batch

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
            sound.channels, sound.rate_hz, sound.described = int(info.channels), int(info.rate), True
        return sound

    def _sound_by_limits(self, stamp_ns: int, samples: np.ndarray, stamped: bool) -> Sound:
        """A chunk whose rate and channel count are those of the limits."""
        channels, rate_hz = int(self.limits["channels"]), int(self.limits["sample_rate_hz"])
        return Sound(stamp_ns, samples, channels, rate_hz, stamped=stamped, described=False)

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
        low, high = check_form(sound, self.limits, self.msg_type)
        self._check_claimed_rate(sound)
        check_levels(sound, low, high, self.limits, self.msg_type)

    def _check_claimed_rate(self, sound: Sound) -> None:
        true_hz = self._rate_by_stamps(sound)
        if true_hz:
            told = "claimed" if sound.described else "assumed"
            raise Rejected(
                PayloadFault.OUT_OF_RANGE,
                f"{self.msg_type} sample rate",
                f"{sound.rate_hz} Hz {told} of samples that come at about {true_hz:.0f} Hz by their stamps",
                "the rate of the samples",
                f"{sound.remedy('sample_rate_hz', 'channels')}, or set trust_stamps: false if its stamps are wrong",
            )

    def _rate_by_stamps(self, sound: Sound) -> float:
        """The rate of the samples [Hz] where the stamps tell another one than is claimed, else 0."""
        if not sound.stamped or not sound.stamp_ns or self.limits["use_arrival_stamp"]:
            return 0.0  # a time of arrival says when a driver or a network was free
        return self._claimed.true_rate_hz(sound.stamp_ns, sound.samples[:: sound.channels], sound.rate_hz)

    def rows(self, sound: Sound, spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (m,) [ns] and mono samples (m,) at the model's rate."""
        mono = sound.samples.astype(np.float32)
        if sound.channels > 1:
            mono = mono.reshape(-1, sound.channels) @ np.full(sound.channels, 1 / sound.channels, np.float32)
        mono = self._full_scale_1(mono, sound)
        if self._resampler is None or self._resampler.rate_in_hz != sound.rate_hz:
            self._resampler = Resampler(sound.rate_hz, self._rate_out_hz)
            self._clock.reset()
        times = self._clock.follow(sound.stamp_ns, len(mono), sound.rate_hz, sound.stamped)
        if not times.continues:
            self._resampler.reset()
        rows, positions = self._resampler(mono)
        # Outputs that the filter held back lie before this chunk and keep the pace of the chunk they belong to.
        pace = np.where(positions < 0, times.sample_ns_before, times.sample_ns)
        return times.begin_ns + np.rint(positions * pace).astype(np.int64), rows

    def _keeps_rate(self, sound: Sound) -> bool:
        """Whether sound of this rate, that of the chunk before, needs no resampling."""
        resampler = self._resampler
        return resampler is not None and resampler.rate_in_hz == sound.rate_hz and resampler.up == resampler.down

    @staticmethod
    def _full_scale_1(mono: np.ndarray, sound: Sound) -> np.ndarray:
        """Samples (m,) float32 as they were sent, with full scale 1."""
        return (mono - np.float32(sound.zero)) * np.float32(1 / sound.full_scale)
