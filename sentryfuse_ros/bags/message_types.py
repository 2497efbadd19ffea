"""Deserialising messages whose type is not built into this package, by the definition that the bag carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ..errors import BagError
from .bag import Bag


def typestore_of(connection: Connection) -> Typestore:
    """The types needed to read a connection's messages: the standard ones and the definition in the bag. Raises BagError."""
    store = get_typestore(Stores.ROS2_JAZZY)
    if connection.msgtype not in store.fielddefs:
        try:
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        except Exception as error:  # the parser raises many kinds of errors, all of which mean an unusable definition
            raise BagError(
                f"topic {connection.topic}",
                f"type {connection.msgtype} without a usable definition",
                "a known type, or an mcap bag that carries the definition",
                "record to mcap, or use another topic",
            ) from error
    return store


def deserialiser(bag: Bag, topic: str) -> Callable[[bytes], Any]:
    """A function from a serialised message of ``topic`` to its object. The types are prepared at the first call.

    The result is an object with the fields of the message type, which only the bag knows; hence the type Any.
    """
    connection = next(c for c in bag.connections if c.topic == topic)
    store: Typestore | None = None

    def deserialise(raw: bytes) -> Any:
        nonlocal store
        if store is None:
            store = typestore_of(connection)
        return store.deserialize_cdr(raw, connection.msgtype)

    return deserialise
