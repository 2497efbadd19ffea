"""One file of a recording: whole ones are read by `rosbags`, damaged and odd ones by this package, as far as they go."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from ..errors import BagError
from .compression import ZSTD_MAGIC, decompress_zstd, unpack_start
from .mcap_scan import MAGIC as MCAP_MAGIC
from .mcap_scan import McapScan, has_index
from .sqlite_scan import SqliteScan

SQLITE_MAGIC = b"SQLite format 3\0"
ROS1_MAGIC = b"#ROSBAG V"
CDR = "cdr"  # how ROS 2 serialises messages


class StorageFile(Protocol):
    """Messages of one file. ``end_ns`` is the time of the newest; ``damage`` says what cannot be read, "" if nothing is known."""

    connections: list[Connection]
    start_ns: int
    end_ns: int
    damage: str

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """(connection, time ns, serialised message) in order of time."""

    def close(self) -> None: ...


class IndexedFile:
    """A whole file, read by `rosbags` with the help of its index. Raises whatever its storage raises otherwise."""

    def __init__(self, path: Path):
        self._reader = Reader(path)
        self._reader.open()
        # What is not in CDR, such as the JSON of another program, is no ROS message.
        self.connections = [c for c in self._reader.connections if getattr(c.ext, "serialization_format", CDR) == CDR]
        self.start_ns = self._reader.start_time
        self.end_ns = self._reader.end_time - 1
        self.damage = ""

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """In order of time. Raises whatever the storage raises at a place that is damaged."""
        yield from self._reader.messages(connections)

    def close(self) -> None:
        self._reader.close()


class OpenedFile:
    """A file of a recording, by its content: mcap or sqlite3, whole or cut off, compressed as a whole or not.

    Raises BagError if not one message can be read.
    """

    def __init__(self, path: Path):
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._named, self._lost, self._missing = path, 0, 0
        try:
            self._path = self._unpacked(path)
            self._file = self._open()
        except BaseException:
            self._clear()
            raise
        self.connections = self._file.connections
        self.start_ns, self.end_ns = self._file.start_ns, self._file.end_ns

    @property
    def damage(self) -> str:
        name = self._named.name
        lost = f"{self._lost} messages of {name} cannot be unpacked" if self._lost else ""
        missing = f"{self._missing} messages in the index of {name} are not there" if self._missing else ""
        return "; ".join(filter(None, (self._file.damage, lost, missing)))

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """In order of time. What is damaged is left out, and `damage` names it from then on."""
        reached_ns, found = -1, 0
        if isinstance(self._file, IndexedFile):
            try:
                for connection, time_ns, raw in self._file.messages(connections):
                    reached_ns, found = time_ns, found + 1
                    if (plain := self._plain(raw)) is not None:
                        yield connection, time_ns, plain
                # A damaged record ends its chunk without an error.
                self._missing = max(self._missing, sum(c.msgcount for c in connections) - found)
                return
            except Exception as error:  # the errors of a damaged file depend on its storage and compression
                scan = self._scan(error)
            self._file.close()
            self._file = scan  # from now on, the file is read without its index
        # The connections that the caller has may be those of the index, so they are found again by their topics.
        by_topic = {(c.topic, c.msgtype): c for c in connections}
        wanted = {c.id: by_topic[c.topic, c.msgtype] for c in self._file.connections if (c.topic, c.msgtype) in by_topic}
        for connection, time_ns, raw in self._file.messages([c for c in self._file.connections if c.id in wanted]):
            if time_ns > reached_ns and (plain := self._plain(raw)) is not None:
                yield wanted[connection.id], time_ns, plain

    def _plain(self, raw: bytes) -> bytes | None:
        """A message, unpacked if it was compressed by itself; None, and counted, if that is impossible."""
        if raw[:4] != ZSTD_MAGIC:
            return bytes(raw)
        try:
            return decompress_zstd(raw)
        except ValueError:
            self._lost += 1
            return None

    def close(self) -> None:
        self._file.close()
        self._clear()

    def _clear(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _folder(self) -> Path:
        """A folder that lives as long as the file is open."""
        self._temporary = tempfile.TemporaryDirectory(prefix="sentryfuse_bag_")
        return Path(self._temporary.name)

    def _unpacked(self, path: Path) -> Path:
        """The file itself; a copy if it is compressed, or messages of it are still in the log of a recorder that crashed."""
        log = path.with_name(path.name + "-wal")
        if log.is_file() and log.stat().st_size:
            copy = Path(shutil.copy(path, self._folder()))
            shutil.copy(log, copy.parent)
            try:
                database = sqlite3.connect(copy)
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                database.close()
            except sqlite3.Error:  # the file itself may still be read as far as it goes
                pass
            return copy
        if not _begins_with(path, ZSTD_MAGIC):
            return path
        copy = self._folder() / path.name.removesuffix(".zstd")
        with path.open("rb") as packed, copy.open("wb") as out:
            unpack_start(packed, out)  # if it is cut off, what there is, is read
        return copy

    def _open(self) -> StorageFile:
        path, named = self._path, self._named
        if not path.stat().st_size:
            raise BagError(f"file {named}", "an empty file", "a recording", "leave it out: its recorder wrote nothing")
        if _begins_with(path, ROS1_MAGIC):
            raise BagError(
                f"file {named}",
                "a ROS 1 recording",
                "a ROS 2 recording (mcap or sqlite3)",
                f"convert it with: rosbags-convert --src {named} --dst {named.with_suffix('')}",
            )
        if _begins_with(path, MCAP_MAGIC) and not has_index(path):
            return McapScan(path, named.name)
        try:
            return IndexedFile(path)
        except Exception as error:  # the errors of a damaged file depend on its storage and compression
            return self._scan(error)

    def _scan(self, error: Exception) -> StorageFile:
        """The file without its index, after an error of the reader that uses it."""
        if _begins_with(self._path, MCAP_MAGIC):
            return McapScan(self._path, self._named.name)
        if _begins_with(self._path, SQLITE_MAGIC):
            return SqliteScan(self._path, self._named.name)
        raise BagError(
            f"file {self._named}",
            str(error) or type(error).__name__,
            "a ROS 2 recording (mcap or sqlite3)",
            "leave it out, or convert it",
        ) from error


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
