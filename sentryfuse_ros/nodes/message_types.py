"""The message types that are installed: their Python classes, and their definitions as decoders need them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from ..decoders.message_definition import Message, read_definition
from ..errors import ParameterError

# Package and type names as in ROS's interface naming rules; the middle part keeps any other module from being imported.
_MESSAGE_TYPE = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")


def message_class(type_name: str) -> Any:
    """The Python class of a message type such as `sensor_msgs/msg/Image`.

    Raises ParameterError for a name of another form, before anything is imported, and if the type is not installed.
    """
    parts = type_name.split("/")
    try:
        if not _MESSAGE_TYPE.fullmatch(type_name):
            raise ValueError("not a message type")
        return getattr(importlib.import_module(".".join(parts[:-1])), parts[-1])
    except (ImportError, AttributeError, ValueError) as error:
        if len(parts) == 2:  # as ROS 1 writes them
            expected, remedy = f"{parts[0]}/msg/{parts[1]}", "change the parameter type"
        else:
            expected = "an installed type such as sensor_msgs/msg/Image"
            remedy = f"install the package {parts[0]} or change the parameter type"
        raise ParameterError("message type", type_name, expected, remedy) from error


def begins_with_header(type_name: str) -> bool:
    """Whether the first field of an installed message type is a std_msgs/Header. Raises ParameterError if it is not installed."""
    return next(iter(_fields_of(type_name).items()), None) == ("header", "std_msgs/Header")


def message_definition(type_name: str) -> Message:
    """The definition of an installed message type. Raises ParameterError if it, or a type in it, is not installed."""
    return read_definition(type_name, _fields_of)


def _fields_of(type_name: str) -> Mapping[str, str]:
    fields = getattr(message_class(type_name), "get_fields_and_field_types", None)
    if fields is None:
        raise ParameterError("message type", type_name, "a type of ROS 2 messages", "correct the sensor's parameter type")
    return fields()
