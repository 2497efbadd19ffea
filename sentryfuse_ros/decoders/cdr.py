"""Reads the bytes of a serialised ROS 2 message in place: XCDR1, little-endian, every access bounds-checked.

Layout (OMG DDS-RTPS 9.4.2.12, DDS-XTypes 7.4): a 4-byte header, then the fields, each aligned to its own size as counted from
the end of the header. Arrays are returned as read-only numpy views on the message. Padding is uninitialised memory, so the raw
bytes of a message must never be compared or hashed as a whole.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ..errors import DecodeError
from ..nanoseconds import NS_PER_S

HEADER_BYTES = 4
RawMessage = bytes | bytearray | memoryview
_STAMP = struct.Struct("<iI")
_UINT32 = struct.Struct("<I")


class ForeignEncoding(DecodeError):
    """The bytes may be a good message in an encoding or layout that is not read here; the middleware's deserialiser can tell."""


class CdrReader:
    """A cursor over one serialised message. Every read raises DecodeError if the bytes end too early.

    Raises ForeignEncoding if the 4-byte header is not that of XCDR1 little-endian.
    """

    __slots__ = ("buffer", "offset", "size", "what")

    def __init__(self, message: RawMessage, what: str) -> None:
        self.buffer, self.size, self.what = message, len(message), what
        if self.size < HEADER_BYTES:
            raise DecodeError(
                what, f"{self.size} bytes", f"at least the {HEADER_BYTES}-byte CDR header", "check the publisher of the topic"
            )
        if message[0] != 0 or message[1] != 1:
            raise ForeignEncoding(
                f"{what} encoding",
                f"0x{message[0]:02x}{message[1]:02x}",
                "0x0001 (XCDR1 little-endian)",
                "pass a deserialize function for other encodings",
            )
        self.offset = HEADER_BYTES

    def take(self, size: int, align: int) -> int:
        """Skip ``size`` bytes that start at the next multiple of ``align``; returns the offset of the first."""
        start = self.offset + (HEADER_BYTES - self.offset) % align
        end = start + size
        if end > self.size:
            raise DecodeError(
                self.what,
                f"{self.size} bytes",
                f"at least {end}",
                "the message is truncated: check the publisher and the transport",
            )
        self.offset = end
        return start

    def unpack(self, layout: struct.Struct, align: int) -> tuple[Any, ...]:
        """Scalars of ``layout``, which has no inner padding; the first one is aligned to ``align``."""
        return layout.unpack_from(self.buffer, self.take(layout.size, align))

    def uint8(self) -> int:
        """One byte; a bool is one as well."""
        return self.buffer[self.take(1, 1)]

    def uint32(self) -> int:
        """One uint32."""
        return _UINT32.unpack_from(self.buffer, self.take(4, 4))[0]

    def string(self) -> str:
        """A string without its terminating NUL. Bytes that are not UTF-8 are replaced."""
        length = self.uint32()
        start = self.take(length, 1)
        return bytes(self.buffer[start : start + max(length - 1, 0)]).decode("utf-8", "replace")

    def header(self) -> int:
        """The stamp [ns] of a std_msgs/Header; frame_id is skipped."""
        stamp_ns = self._stamp()
        self.take(self.uint32(), 1)
        return stamp_ns

    def header_with_frame(self) -> tuple[int, str]:
        """The stamp [ns] and the frame_id of a std_msgs/Header."""
        return self._stamp(), self.string()

    def _stamp(self) -> int:
        second, nanosecond = _STAMP.unpack_from(self.buffer, self.take(8, 4))
        if nanosecond >= NS_PER_S:
            raise DecodeError(f"{self.what} stamp", f"{nanosecond} ns", "under 1e9 ns", "check the publisher's clock")
        return second * NS_PER_S + nanosecond

    def array(self, dtype: np.dtype | type | str) -> np.ndarray:
        """A sequence of numbers as a read-only view (length,)."""
        dtype = np.dtype(dtype)
        count = self.uint32()
        if count == 0:  # an empty sequence is not aligned to its element
            return np.empty(0, dtype)
        return np.frombuffer(self.buffer, dtype, count, self.take(count * dtype.itemsize, dtype.itemsize))

    @property
    def left(self) -> int:
        """Number of bytes that have not been read yet."""
        return self.size - self.offset


def message_stamp_ns(message: Any) -> int:
    """Header stamp [ns] of a deserialised message."""
    stamp = message.header.stamp
    if not 0 <= stamp.nanosec < NS_PER_S:
        raise DecodeError("header stamp", f"{stamp.nanosec} ns", "under 1e9 ns", "check the publisher's clock")
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def field_array(values: Any, dtype: np.dtype | type | str) -> np.ndarray:
    """An array field of a deserialised message (array.array, ndarray, bytes or list) as (length,).

    The data is not copied if its memory already holds ``dtype``.
    """
    if isinstance(values, (bytes, bytearray, memoryview)):
        return np.frombuffer(values, dtype)
    return np.asarray(values, dtype).reshape(-1)
