"""The definition of a message type as a tree: which fields there are, and of what kind each one is.

A decoder that reads any message type needs it. It is built from one look-up, the fields of a type by its name, which the
message classes of rclpy offer on a robot and the definitions in a bag offer elsewhere (`nodes/receive.py`,
`bags/message_types.py`). The types of the fields are written as rclpy writes them: `double`, `float[3]`, `sequence<double>`,
`std_msgs/Header`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import ParameterError

HEADER_TYPE = "std_msgs/msg/Header"
MAX_DEPTH = 32  # of messages within messages; definitions of ROS have no circles, but a damaged one may
# Little-endian, as XCDR1 is read. Names of rclpy (IDL) and of .msg files.
NUMBERS = {
    "boolean": "u1",
    "bool": "u1",
    "octet": "u1",
    "byte": "u1",
    "char": "u1",
    "uint8": "u1",
    "int8": "i1",
    "uint16": "<u2",
    "int16": "<i2",
    "uint32": "<u4",
    "int32": "<i4",
    "uint64": "<u8",
    "int64": "<i8",
    "float": "<f4",
    "float32": "<f4",
    "double": "<f8",
    "float64": "<f8",
}
_ARRAY = re.compile(r"(.+)\[(\d+)\]")
_SEQUENCE = re.compile(r"sequence<(.+?)(?:, *\d+)?>")


@dataclass(frozen=True)
class Number:
    """A number of fixed size, or a bool, which is read as 0 or 1."""

    dtype: np.dtype

    def describe(self) -> str:
        """What it is, for error texts."""
        return str(self.dtype)


@dataclass(frozen=True)
class Text:
    """A string. ``wide``: of 16-bit characters, whose serialised form differs between middlewares."""

    wide: bool = False

    def describe(self) -> str:
        """What it is, for error texts."""
        return "string"


@dataclass(frozen=True)
class Array:
    """Several items of one type: ``size`` of them, or as many as each message says where it is None."""

    item: FieldType
    size: int | None = None

    def describe(self) -> str:
        """What it is, for error texts."""
        return f"{self.item.describe()}[{'' if self.size is None else self.size}]"


@dataclass(frozen=True)
class Message:
    """A message type and its fields in their order."""

    name: str
    fields: Mapping[str, FieldType]

    def describe(self) -> str:
        """What it is, for error texts."""
        return self.name

    @property
    def has_header(self) -> bool:
        """Whether the message has a field `header` of type std_msgs/Header, whose stamp says when it was measured."""
        field = self.fields.get("header")
        return isinstance(field, Message) and field.name == HEADER_TYPE


FieldType = Number | Text | Array | Message
# Name of a message type (package/msg/Name) -> type of every field by its name, in order. Raises SentryFuseError for a type that
# is not known.
FieldsOf = Callable[[str], Mapping[str, str]]


def read_definition(msg_type: str, fields_of: FieldsOf) -> Message:
    """The definition of a message type. Raises ParameterError for a field whose type is not understood."""
    return _message(msg_type, fields_of, {}, 0)


def _message(name: str, fields_of: FieldsOf, known: dict[str, Message], depth: int) -> Message:
    if name not in known:
        if depth > MAX_DEPTH:
            raise ParameterError(f"message type {name}", "messages within messages without end", "a usable definition")
        fields = {
            field: _field_type(text, fields_of, known, depth)
            for field, text in (fields_of(name) or {"structure_needs_at_least_one_member": "uint8"}).items()
        }
        known[name] = Message(name, fields)
    return known[name]


def _field_type(text: str, fields_of: FieldsOf, known: dict[str, Message], depth: int) -> FieldType:
    if found := _ARRAY.fullmatch(text):
        return Array(_field_type(found[1], fields_of, known, depth), int(found[2]))
    if found := _SEQUENCE.fullmatch(text):
        return Array(_field_type(found[1], fields_of, known, depth))
    if text in NUMBERS:
        return Number(np.dtype(NUMBERS[text]))
    base = text.partition("<")[0]  # a string may have a bound: string<10>
    if base in ("string", "wstring"):
        return Text(wide=base == "wstring")
    parts = text.split("/")
    if len(parts) not in (2, 3):
        raise ParameterError("field type", repr(text), "a number, a string, an array or a message type package/Name")
    return _message(f"{parts[0]}/msg/{parts[-1]}", fields_of, known, depth + 1)
