"""The definition of a message type that a recording carries, in the form of .msg files or of .idl files.

Source of the two forms: docs/message_definition_encoding.md of rosbag2.
"""

from __future__ import annotations

import re

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import get_types_from_idl, get_types_from_msg

from ..errors import BagError

_DELIMITER = re.compile(r"^={80}\nIDL: .*\n", re.MULTILINE)  # before the text of each .idl file
_DIRECTIVE = re.compile(r"^\s*#.*$", re.MULTILINE)  # #include: all types are there, and the parser does not know it


def types_in_definition(connection: Connection) -> Typesdict:
    """The type of a connection and the types in it, by name, as `rosbags` knows them. Raises BagError if it cannot be read."""
    msg_type, definition = connection.msgtype, connection.msgdef
    if definition.format == MessageDefinitionFormat.NONE or not definition.data.strip():
        raise BagError(
            f"topic {connection.topic}",
            f"type {msg_type} without a definition in the recording",
            "a standard type, or a definition as .msg or .idl text",
            f"record to mcap where the package {msg_type.split('/')[0]} is installed, or use another topic",
        )
    idl = definition.format == MessageDefinitionFormat.IDL
    try:
        types = _types_from_idl(definition.data) if idl else get_types_from_msg(definition.data, msg_type)
    except Exception as error:  # the parsers raise many kinds of errors, all of which mean an unusable definition
        raise unreadable(connection) from error
    if msg_type not in types:
        raise unreadable(connection)
    return types


def unreadable(connection: Connection) -> BagError:
    """The error about a definition that is there and cannot be used."""
    form = ".idl" if connection.msgdef.format == MessageDefinitionFormat.IDL else ".msg"
    return BagError(
        f"topic {connection.topic}",
        f"type {connection.msgtype} with a definition as {form} text that cannot be read",
        "a standard type, or the definition that its package has, with all types in it",
        f"record it again where the package {connection.msgtype.split('/')[0]} is whole, or use another topic",
    )


def _types_from_idl(text: str) -> Typesdict:
    types: Typesdict = {}
    for part in _DELIMITER.split(text):
        if (plain := _DIRECTIVE.sub("", part)).strip():
            types.update(get_types_from_idl(plain))
    return types
