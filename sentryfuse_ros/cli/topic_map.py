"""The argument --map of `replay` and `dataset`: which topic serves which sensor."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ParameterError


def topics_of(entries: Sequence[str]) -> dict[str, str]:
    """The ``--map`` arguments as sensor -> topic. Raises ParameterError."""
    topics = {}
    for entry in entries:
        sensor, mark, topic = entry.partition(":=")
        if not mark or not topic:
            raise ParameterError("--map", entry, "SENSOR:=TOPIC")
        topics[sensor] = topic
    return topics
