"""Reads the bytes of a serialised ROS 2 message in place: XCDR1, little-endian, every access bounds-checked.

Layout (OMG DDS-RTPS 9.4.2.12, DDS-XTypes 7.4): a 4-byte header, then the fields, each aligned to its own size
counted from the end of that header. Arrays come back as read-only numpy views on the message. Padding is
uninitialised memory: nothing here may be compared or hashed as raw bytes of a message.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ..errors import DecodeError
from ..nanoseconds import NS_PER_S

HEADER_BYTES = 4
_STAMP = struct.Struct("<iI")
_UINT32 = struct.Struct("<I")


class ForeignEncoding(DecodeError):
    """The bytes may be a good message, but not in the encoding or layout read here: ask the real deserialiser."""


class CdrReader:
    """A cursor over one serialised message; every read raises DecodeError where the bytes end too early.

    Raises ForeignEncoding where the 4-byte header does not say XCDR1 little-endian.
    """

    __slots__ = ("buffer", "offset", "size", "what")

    def __init__(self, message: bytes, what: str) -> None:
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
        """Step over ``size`` bytes at the next multiple of ``align``; returns where they start."""
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
        """Scalars of ``layout`` (no inner padding), the first aligned to ``align``."""
        return layout.unpack_from(self.buffer, self.take(layout.size, align))

    def uint8(self) -> int:
        """One byte, also a bool."""
        return self.buffer[self.take(1, 1)]

    def uint32(self) -> int:
        """One uint32."""
        return _UINT32.unpack_from(self.buffer, self.take(4, 4))[0]

    def string(self) -> str:
        """A string without its closing NUL; bytes that are not UTF-8 are replaced."""
        length = self.uint32()
        start = self.take(length, 1)
        return bytes(self.buffer[start : start + max(length - 1, 0)]).decode("utf-8", "replace")

    def header(self) -> int:
        """A std_msgs/Header: the stamp [ns]; frame_id is stepped over."""
        second, nanosecond = _STAMP.unpack_from(self.buffer, self.take(8, 4))
        if nanosecond >= NS_PER_S:
            raise DecodeError(f"{self.what} stamp", f"{nanosecond} ns", "under 1e9 ns", "check the publisher's clock")
        self.take(self.uint32(), 1)
        return second * NS_PER_S + nanosecond

    def array(self, dtype: np.dtype | type) -> np.ndarray:
        """A sequence of numbers as a read-only view (length,)."""
        dtype = np.dtype(dtype)
        count = self.uint32()
        if count == 0:  # an empty sequence is not aligned to its element
            return np.empty(0, dtype)
        return np.frombuffer(self.buffer, dtype, count, self.take(count * dtype.itemsize, dtype.itemsize))

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self.size - self.offset


def message_stamp_ns(message: Any) -> int:
    """Header stamp [ns] of a deserialised message."""
    stamp = message.header.stamp
    if not 0 <= stamp.nanosec < NS_PER_S:
        raise DecodeError("header stamp", f"{stamp.nanosec} ns", "under 1e9 ns", "check the publisher's clock")
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def field_array(values: Any, dtype: np.dtype | type) -> np.ndarray:
    """A deserialised message's array field (array.array, ndarray, bytes or list) as (length,), without a copy
    where its memory already holds ``dtype``."""
    if isinstance(values, (bytes, bytearray, memoryview)):
        return np.frombuffer(values, dtype)
    return np.asarray(values, dtype).reshape(-1)
