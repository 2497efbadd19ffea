"""Reading and replacing the header stamp of a serialised message, without decoding the rest of it."""

from __future__ import annotations

import struct
from functools import cache

from rosbags.interfaces import Connection, Nodetype
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ..errors import BagError
from ..nanoseconds import ns_to_stamp, stamp_to_ns
from ..sensor_kinds import sensor_kinds
from .type_definitions import types_in_definition


def has_header(connection: Connection) -> bool:
    """Whether the messages of a topic begin with std_msgs/Header; True where the recording does not define their type."""
    msg_type = connection.msgtype
    if any(msg_type in kind.headerless_types for kind in sensor_kinds()):
        return False
    known = _standard_types().fielddefs.get(msg_type)
    if known is None:
        if not connection.msgdef.data:
            return True
        try:
            known = types_in_definition(connection)[msg_type]
        except BagError:
            return True
    return known[1][:1] == [("header", (Nodetype.NAME, "std_msgs/msg/Header"))]


@cache
def _standard_types() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)


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
