"""The times of the samples of a stream of sound: they follow the stamps of its chunks slowly, so that stamps that jitter leave
neither gaps nor overlaps."""

from __future__ import annotations

from typing import NamedTuple

from ..nanoseconds import NS_PER_S

JITTER_S = 0.01  # a stamp within this of the sample clock, or within half a chunk, continues the stretch [s]
JITTER_OF_ARRIVAL = 4  # times as much is allowed to a stamp that was taken at arrival, of the scheduler and the network
PULL = 1 / 8  # share of the deviation of a stamp that the sample clock follows per chunk


class ChunkTimes(NamedTuple):
    """When the samples of one chunk were taken."""

    continues: bool  # whether the chunk continues the one before
    begin_ns: int  # of its first sample
    sample_ns: float  # time from sample to sample
    sample_ns_before: float  # the same in the chunk before, or in this one where it begins a stretch


class SampleClock:
    """Follows the chunks of one stream."""

    def __init__(self) -> None:
        self._due_ns: int | None = None  # when the sample after the last chunk is due
        self._sample_ns = 0.0  # time from sample to sample in the last chunk

    def reset(self) -> None:
        """The next chunk begins a new stretch of sound."""
        self._due_ns = None

    def follow(self, stamp_ns: int, count: int, rate_hz: int, stamped: bool) -> ChunkTimes:
        """Take a chunk of ``count`` samples of each channel. Without a header (not ``stamped``) its stamp is that of its end."""
        length_ns = count * NS_PER_S / rate_hz
        if not stamped:
            stamp_ns -= round(length_ns)
        tolerance_ns = max(JITTER_S * NS_PER_S, length_ns / 2) * (1 if stamped else JITTER_OF_ARRIVAL)
        begin_ns, before = self._due_ns, self._sample_ns
        continues = begin_ns is not None and abs(stamp_ns - begin_ns) <= tolerance_ns
        if begin_ns is None or not continues:
            begin_ns, before = stamp_ns, 0.0
        # Within the chunk the clock is stretched towards the chunk's stamp, but never so far that it runs backwards.
        sample_ns = (length_ns + max((stamp_ns - begin_ns) * PULL, -length_ns / 2)) / count
        self._due_ns = begin_ns + round(sample_ns * count)
        self._sample_ns = sample_ns
        return ChunkTimes(continues, begin_ns, sample_ns, before or sample_ns)
