"""Read a recording (rosbag2, mcap or sqlite3), and whatever can be read of a damaged one."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection

from ..errors import BagError, reason_of
from .find import METADATA, announced_messages, bag_folder, bag_name, check_there, recordings_in_files, storage_files
from .header_stamps import has_header
from .storage import OpenedFile


@dataclass(frozen=True)
class Topic:
    name: str
    msg_type: str
    count: int
    has_header: bool = True  # whether its messages begin with a std_msgs/Header


def full_type(msg_type: str) -> str:
    """A message type as ROS 2 writes it: the old form sensor_msgs/Image becomes sensor_msgs/msg/Image."""
    return re.sub(r"^(\w+)/(\w+)$", r"\1/msg/\2", msg_type)


class Bag:
    """A recording, given by its folder or by one of its files.

    Attributes: `name`, `topics`, `connections` (one for each topic, with the definition of its type), `start_ns`, `duration_s`,
    and `damage`: what cannot be read of it, in words; reading may add to that. Raises BagError if there is nothing to read.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        check_there([self.path])
        self.name = bag_name(self.path)
        self._notes: list[str] = []
        self._files: list[OpenedFile] = []
        try:
            self._open_files()
        except BaseException:
            self.close()
            raise
        self._files.sort(key=lambda file: file.start_ns)
        self.connections = _joined(connection for file in self._files for connection in file.connections)
        self.topics = {c.topic: Topic(c.topic, c.msgtype, c.msgcount, has_header(c)) for c in self.connections}
        filled = [file for file in self._files if any(c.msgcount for c in file.connections)]
        if not filled:
            self.close()
            raise BagError(f"bag {path}", "no messages", "a recording of sensors", "leave it out")
        self.start_ns = min(file.start_ns for file in filled)
        self.duration_s = (max(file.end_ns for file in filled) + 1 - self.start_ns) * 1e-9

    def _open_files(self) -> None:
        """Open every file that can be read, and note those that cannot."""
        files, absent = storage_files(self.path)
        recordings = recordings_in_files(files)
        if len(recordings) > 1 and not (bag_folder(self.path) / METADATA).exists():
            raise BagError(f"bag {self.path}", "several recordings: " + ", ".join(recordings), "one", "give one of its files")
        if not files:
            raise BagError(
                f"bag {self.path}", "no recording there", "a folder with mcap or db3 files", "check the path, or leave it out"
            )
        self._notes = [f"{name}, which metadata.yaml names, is missing" for name in absent]
        for file in files:
            try:
                self._files.append(OpenedFile(file))
            except BagError as error:
                if len(files) == 1:
                    raise BagError(f"bag {self.path}", error.seen, error.expected, error.remedy) from error
                self._notes.append(str(error))
            except OSError as error:
                raise BagError(f"bag {self.path}", reason_of(error), "a file that can be read") from error
        if not self._files:
            raise BagError(f"bag {self.path}: " + "; ".join(self._notes))

    @property
    def damage(self) -> str:
        """What cannot be read of the recording; "" if nothing is known to be lost."""
        notes = [*self._notes, *(file.damage for file in self._files if file.damage)]
        announced, found = announced_messages(self.path), sum(topic.count for topic in self.topics.values())
        if announced is not None and found < announced:
            notes.append(f"metadata.yaml announces {announced} messages, and {found} are there")
        return "; ".join(notes)

    def messages(self, topics: Sequence[str]) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time ns, serialised message) in order of time. What is damaged is left out, and `damage` names it."""
        wanted = {name: self.topics[name].msg_type for name in topics if name in self.topics}
        for files in self._overlapping():
            yield from heapq.merge(*(_messages_of(file, wanted) for file in files), key=lambda message: message[1])

    def _overlapping(self) -> Iterator[list[OpenedFile]]:
        """The files in order of time; those that overlap in time are together."""
        together: list[OpenedFile] = []
        for file in self._files:
            if together and file.start_ns > max(other.end_ns for other in together):
                yield together
                together = []
            together.append(file)
        if together:
            yield together

    def close(self) -> None:
        for file in self._files:
            if file.damage:
                self._notes.append(file.damage)
            file.close()
        self._files = []

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _messages_of(file: OpenedFile, wanted: Mapping[str, str]) -> Iterator[tuple[str, int, bytes]]:
    """(topic, time ns, serialised message) of one file; ``wanted``: topic -> type."""
    chosen = [c for c in file.connections if wanted.get(c.topic) == full_type(c.msgtype)]
    for connection, time_ns, raw in file.messages(chosen) if chosen else ():
        yield connection.topic, time_ns, raw


def _joined(connections: Iterator[Connection]) -> tuple[Connection, ...]:
    """One connection for each topic: the files and publishers of a topic together. The type is that of most of its messages."""
    by_topic: dict[str, list[Connection]] = {}
    for connection in connections:
        by_topic.setdefault(connection.topic, []).append(connection)
    joined = []
    for group in by_topic.values():
        counts: dict[str, int] = {}
        for connection in group:
            counts[full_type(connection.msgtype)] = counts.get(full_type(connection.msgtype), 0) + connection.msgcount
        msg_type = max(counts, key=lambda name: counts[name])
        own = [c for c in group if full_type(c.msgtype) == msg_type]
        defined = next((c for c in own if c.msgdef.data), own[0])
        joined.append(defined._replace(msgtype=msg_type, msgcount=sum(c.msgcount for c in own)))
    return tuple(joined)
