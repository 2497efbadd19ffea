"""Read a rosbag2 recording (sqlite3 or mcap) with `rosbags`, and match its topics to sensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2 import Reader

from ..errors import BagError
from ..sensor_kinds import sensor_kind
from ..settings import SensorSettings

BATTERY_TYPE = "sensor_msgs/msg/BatteryState"


@dataclass(frozen=True)
class Topic:
    name: str
    msg_type: str
    count: int


def bag_folder(path: Path) -> Path:
    """The folder of a bag that is given by its folder or by a file in it."""
    return path if path.is_dir() else path.parent


def find_bags(paths: Sequence[Path]) -> list[Path]:
    """The folders of the bags that are given, and of those directly below folders that are given, sorted by name.

    Raises BagError if a path has no bag.
    """
    found: list[Path] = []
    for path in (p.resolve() for p in paths):
        if path.is_file() or (path / "metadata.yaml").exists():
            found.append(bag_folder(path))
            continue
        inside = sorted(p.parent for p in path.glob("*/metadata.yaml"))
        if not inside:
            raise BagError(
                f"bag {path}",
                "no metadata.yaml there or one folder below",
                "a rosbag2 folder, or a folder of such",
                "check the path",
            )
        found += inside
    return found


class Bag:
    """A recording: `topics`, `connections` (with the definitions of their types), `start_ns`, `duration_s`, `messages`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.exists():
            raise BagError(
                f"bag {path}",
                "nothing there",
                "a rosbag2 folder with metadata.yaml",
                "check the path",
            )
        folder = bag_folder(self.path)
        if not (folder / "metadata.yaml").exists():
            raise BagError(f"bag {path}", "no metadata.yaml", "a rosbag2 folder", "give the folder, or run ros2 bag reindex")
        try:
            self._reader = Reader(folder)
            self._reader.open()
        except Exception as error:  # the errors of a damaged file depend on its storage and compression
            raise BagError(
                f"bag {path}", str(error) or type(error).__name__, "a readable rosbag2 recording", "check it with: ros2 bag info"
            ) from error
        self.topics = {c.topic: Topic(c.topic, c.msgtype, c.msgcount) for c in self._reader.connections}
        self.connections = tuple(self._reader.connections)
        self.start_ns = self._reader.start_time
        self.duration_s = self._reader.duration * 1e-9
        if not any(topic.count for topic in self.topics.values()):
            raise BagError(f"bag {path}", "no messages", "a recording of sensors")

    def messages(self, topics: Sequence[str]) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time ns, serialised message) in order of time. Raises BagError at the place where a bag is damaged."""
        chosen = [c for c in self._reader.connections if c.topic in set(topics)]
        if not chosen:
            return
        messages = iter(self._reader.messages(chosen))
        while True:
            try:
                connection, time_ns, raw = next(messages)
            except StopIteration:
                return
            except Exception as error:  # the errors of a damaged file depend on its storage and compression
                raise BagError(
                    f"bag {self.path}",
                    str(error) or type(error).__name__,
                    "undamaged messages",
                    "the recording may have ended abruptly; ros2 bag reindex can recover what is there",
                ) from error
            yield connection.topic, time_ns, bytes(raw)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def match_sensors(bag: Bag, sensors: Sequence[SensorSettings], chosen: Mapping[str, str]) -> dict[str, Topic]:
    """Which topic of the bag serves which sensor: sensor name -> topic.

    A sensor gets the topic that ``chosen`` names; otherwise the topic of its configured name; otherwise the topic of its kind
    with the most messages that no other sensor has. Sensors for which the bag has no topic are left out. Raises BagError if a
    chosen topic does not exist or is of another kind.
    """
    by_name = {s.name: s for s in sensors}
    matched: dict[str, Topic] = {}
    for name, topic in chosen.items():
        if name not in by_name:
            raise BagError(f"sensor {name}", "not configured", "one of " + ", ".join(by_name))
        full = topic if topic.startswith("/") else "/" + topic
        if full not in bag.topics:
            raise BagError(f"topic {full} for {name}", "not in the bag", "one of " + ", ".join(sorted(bag.topics)))
        msg_types = sensor_kind(by_name[name].kind).msg_types
        if bag.topics[full].msg_type not in msg_types:
            raise BagError(f"topic {full} for {name}", bag.topics[full].msg_type, " or ".join(msg_types))
        matched[name] = bag.topics[full]
    for sensor in sensors:
        if sensor.name in matched:
            continue
        taken = {t.name for t in matched.values()}
        msg_types = sensor_kind(sensor.kind).msg_types
        free = [t for t in bag.topics.values() if t.name not in taken and t.msg_type in msg_types and t.count]
        if not free:
            continue
        own = "/" + sensor.topic.lstrip("/")
        matched[sensor.name] = next((t for t in free if t.name == own), max(free, key=lambda t: t.count))
    return matched


def find_battery(bag: Bag) -> Topic | None:
    """The bag's BatteryState topic, if it has one."""
    return next((t for t in bag.topics.values() if t.msg_type == BATTERY_TYPE and t.count), None)
