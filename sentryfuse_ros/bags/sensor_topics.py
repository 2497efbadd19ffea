"""Which topic of a recording serves which sensor: by name first, then by type, and never one that could be another sensor's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import BagError
from ..sensor_kinds import sensor_kind
from ..settings import SensorSettings
from .bag import Bag, Topic

BATTERY_TYPE = "sensor_msgs/msg/BatteryState"


@dataclass(frozen=True)
class SensorTopics:
    """topics: sensor -> topic. absent: sensor -> why it has none. remarks: what a user should know of the choice."""

    topics: Mapping[str, Topic]
    absent: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    def check_any(self, bag: Bag) -> None:
        """Raise BagError if no sensor has a topic in the recording."""
        if not self.topics:
            raise BagError(
                f"bag {bag.path}",
                "topics " + ", ".join(f"{t.name} ({t.msg_type}, {t.count} messages)" for t in bag.topics.values()),
                "a topic for one of the sensors",
                "; ".join(f"{name}: {why}" for name, why in self.absent.items()),
            )


class _NoTopic(Exception):
    """Why a sensor has no topic."""


def match_sensors(
    bag: Bag, sensors: Sequence[SensorSettings], chosen: Mapping[str, str] | None = None, named: Collection[str] = ()
) -> SensorTopics:
    """Find each sensor's topic. Only topics with messages count, and a leading slash makes no difference.

    In this order: the topic that ``chosen`` gives for the sensor; the topic of its configured name, also within one namespace;
    and, unless the user named its topic (``named``: those sensors), the only topic of its configured type, or else of another
    type of its kind, that no other sensor names. Raises BagError if a chosen topic does not exist or is of another kind.
    """
    chosen = chosen or {}
    by_name = {s.name: s for s in sensors}
    matched = {name: _chosen_topic(bag, by_name, name, topic) for name, topic in chosen.items()}
    absent: dict[str, str] = {}
    remarks: list[str] = []
    for sensor in sensors:
        if sensor.name in matched:
            continue
        try:
            topic = _topic_of_name(bag, sensor)
        except _NoTopic as reason:
            absent[sensor.name] = str(reason)
            continue
        if topic is not None:
            matched[sensor.name] = topic
    claimed = {t.name for t in matched.values()}
    free = [t for t in bag.topics.values() if t.name not in claimed and t.count]
    for sensor in sensors:
        if sensor.name in matched or sensor.name in absent:
            continue
        own = f"its topic {sensor.topic} is not in the recording"
        alike = [t for t in free if t.msg_type in sensor_kind(sensor.kind).msg_types]
        found = [t for t in alike if t.msg_type == sensor.msg_type] or alike
        if sensor.name in named:
            others = f", which has {_names(found)}" if found else ""
            absent[sensor.name] = f"{own}{others}; correct {sensor.name}.topic, or give --map {sensor.name}:=TOPIC"
        elif len(found) == 1 and not (rivals := _rivals(found[0], sensor, sensors, matched)):
            matched[sensor.name] = found[0]
            remarks.append(f"{sensor.name}: {found[0].name} was taken by its type, because {own}")
        elif len(found) == 1:
            absent[sensor.name] = f"{own}, and {found[0].name} could be that of {rivals} as well; give --map {sensor.name}:=TOPIC"
        elif found:
            absent[sensor.name] = f"{own}, and by its type it could be any of {_names(found)}; give --map {sensor.name}:=TOPIC"
        else:
            absent[sensor.name] = f"{own}, and neither is any other of its type"
    for name, topic in matched.items():
        expected = by_name[name].msg_type
        if expected and topic.msg_type != expected:
            remarks.append(f"{name}: {topic.name} is {topic.msg_type}, and {name}.type is {expected}; set it so on the robot")
    ordered = {s.name: matched[s.name] for s in sensors if s.name in matched}
    return SensorTopics(ordered, absent, tuple(remarks))


def find_battery(bag: Bag, topic: str = "battery_state", named: bool = False) -> Topic | None:
    """The topic of the battery: that of its name, otherwise, unless the user ``named`` it, the only one of its type."""
    batteries = [t for t in bag.topics.values() if t.msg_type == BATTERY_TYPE and t.count]
    found = _of_name(batteries, topic)
    if not found and not named:
        found = batteries
    return found[0] if len(found) == 1 else None


def full_name(topic: str) -> str:
    """A topic with its leading slash."""
    return "/" + topic.lstrip("/")


def _names(topics: Iterable[Topic]) -> str:
    return ", ".join(sorted(t.name for t in topics))


def _of_name(topics: Collection[Topic], name: str) -> list[Topic]:
    """The topic of a name; for a relative name also those that have it within a namespace."""
    exact = [t for t in topics if full_name(t.name) == full_name(name)]
    if exact or name.startswith("/"):
        return exact
    return [t for t in topics if t.name.endswith("/" + name)]


def _topic_of_name(bag: Bag, sensor: SensorSettings) -> Topic | None:
    """The topic of the sensor's configured name; None if the bag has none. Raises _NoTopic if it cannot be used."""
    kind = sensor_kind(sensor.kind)
    present = _of_name(bag.topics.values(), sensor.topic)
    found = [t for t in present if t.count]
    if present and not found:
        raise _NoTopic(f"its topic {present[0].name} has no messages in the recording")
    readable = [t for t in found if kind.reads(t.msg_type)]
    exact = [t for t in found if full_name(t.name) == full_name(sensor.topic)]
    if exact and not readable:
        raise _NoTopic(
            f"{exact[0].name} is {exact[0].msg_type}, and the kind {sensor.kind} reads {' or '.join(kind.msg_types)}; "
            f"give --map {sensor.name}:=TOPIC"
        )
    if len(readable) > 1:
        raise _NoTopic(f"its topic {sensor.topic} is in several namespaces: {_names(readable)}; give --map {sensor.name}:=TOPIC")
    return readable[0] if readable else None


def _rivals(topic: Topic, sensor: SensorSettings, sensors: Sequence[SensorSettings], matched: Mapping[str, Topic]) -> str:
    """The other sensors that could take a topic by its type, or have taken it."""
    return ", ".join(
        other.name
        for other in sensors
        if other.name != sensor.name
        and topic.msg_type in sensor_kind(other.kind).msg_types
        and (other.name not in matched or matched[other.name] == topic)
    )


def _chosen_topic(bag: Bag, sensors: Mapping[str, SensorSettings], name: str, topic: str) -> Topic:
    """The topic that the user chose. Raises BagError if there is none, or it is of another kind."""
    if name not in sensors:
        raise BagError(f"sensor {name}", "not configured", "one of " + ", ".join(sensors))
    found = next((t for t in bag.topics.values() if full_name(t.name) == full_name(topic)), None)
    if found is None:
        raise BagError(f"topic {topic} for {name}", "not in the bag", "one of " + ", ".join(sorted(bag.topics)))
    kind = sensor_kind(sensors[name].kind)
    if not kind.reads(found.msg_type):
        raise BagError(f"topic {topic} for {name}", found.msg_type, " or ".join(kind.msg_types))
    return found
