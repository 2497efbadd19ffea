"""Message types that are not built into this package, by the definition that the bag carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rosbags.interfaces import Connection, Nodetype
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ..decoders.message_definition import Message, read_definition
from ..errors import BagError
from .bag import Bag
from .type_definitions import types_in_definition, unreadable


def typestore_of(connection: Connection) -> Typestore:
    """The types needed to read a connection's messages: the standard ones and the definition in the bag. Raises BagError.

    The definition of the recorder counts: versions of ROS 2 differ in some standard types, for example in sensor_msgs/Range.
    """
    # From Iron on, every recorder writes definitions.
    standard = Stores.ROS2_JAZZY if connection.msgdef.data else Stores.ROS2_HUMBLE
    store = get_typestore(standard)
    try:
        recorded = types_in_definition(connection)
        for name in recorded:
            store.fielddefs.pop(name, None)  # the store would refuse another definition of a type that it has
        store.register(recorded)
    except Exception as error:  # to register a type that contains others than there are raises many kinds of errors
        store = get_typestore(standard)
        if connection.msgtype not in store.fielddefs:
            raise error if isinstance(error, BagError) else unreadable(connection) from error
    return store


def definition_of(bag: Bag, topic: str) -> Message:
    """The definition of the message type of ``topic``. Raises BagError where the bag has none that can be used."""
    connection = next(c for c in bag.connections if c.topic == topic)
    return definition_in(typestore_of(connection), connection.msgtype)


def definition_in(store: Typestore, msg_type: str) -> Message:
    """The definition of a type as decoders need it. Raises BagError where it, or a type in it, is not in the store."""

    def fields_of(name: str) -> dict[str, str]:
        if name not in store.fielddefs:
            raise BagError(f"message type {msg_type}", f"{name} in it without a definition", "a definition of every type in it")
        return {field: _rclpy_type(kind) for field, kind in store.fielddefs[name][1]}

    return read_definition(msg_type, fields_of)


def _rclpy_type(kind: Any) -> str:
    """A field's type, a tuple of rosbags (`rosbags.interfaces.typing.FieldDesc`), as rclpy writes it."""
    node, detail = kind
    if node == Nodetype.NAME:
        return str(detail)
    if node == Nodetype.BASE:
        return str(detail[0])
    item, size = detail
    return f"{_rclpy_type(item)}[{size}]" if node == Nodetype.ARRAY else f"sequence<{_rclpy_type(item)}>"


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
