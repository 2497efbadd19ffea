"""Reading and replacing the header stamp of a serialised message, without decoding the rest of it."""

from __future__ import annotations

import struct

from ..nanoseconds import ns_to_stamp, stamp_to_ns
from ..sensor_kinds import sensor_kinds


def has_header(msg_type: str) -> bool:
    """Whether messages of a sensor's type begin with std_msgs/Header."""
    return not any(msg_type in kind.headerless_types for kind in sensor_kinds())


def stamped(raw: bytes, stamp_ns: int) -> bytes:
    """A serialised message with another header stamp [ns]. A message that is too short to have one is returned unchanged.

    In XCDR1, sec (int32) and nanosec (uint32) of the stamp follow the encapsulation header of 4 bytes.
    """
    if len(raw) < 12:
        return raw
    order = "<" if raw[1] & 1 else ">"
    return raw[:4] + struct.pack(order + "iI", *ns_to_stamp(stamp_ns)) + raw[12:]


def stamp_of(raw: bytes) -> int:
    """Header stamp [ns] of a serialised message that begins with std_msgs/Header; 0 if it is too short to have one."""
    if len(raw) < 12:
        return 0
    sec, nanosec = struct.unpack_from(("<" if raw[1] & 1 else ">") + "iI", raw, 4)
    return stamp_to_ns(sec, nanosec)
