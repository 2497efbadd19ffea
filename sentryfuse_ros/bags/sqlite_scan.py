"""Read a rosbag2 sqlite3 file that is cut off or damaged, as far as it goes.

The tables of topics and types, at the beginning of the file, are asked of sqlite. The messages are collected from the pages of
the file itself, because the tree that leads to them may be lost. Source of the format: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import mmap
import sqlite3
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat

from ..errors import BagError

FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}
TABLE_LEAF = 0x0D  # type of a page that holds rows
INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # by the type code of a column
NULL, FIRST_BLOB = 0, 12


class _Message(NamedTuple):
    """A row of the table of messages: where its content lies, and how much of it precedes the data."""

    time_ns: int
    row: int
    topic: int
    payload: int  # offset of the part in its own page
    local: int  # bytes of that part
    size: int  # bytes of the whole row
    data_at: int  # where the data begin in the row


class SqliteScan:
    """A db3 file, read page by page. Raises BagError if not one message can be read."""

    def __init__(self, path: Path, name: str):
        self._name = name
        topics, definitions = self._read_tables(path)
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._page_size = struct.unpack_from(">H", self._bytes, 16)[0] if len(self._bytes) > 100 else 0
        self._page_size = 65536 if self._page_size == 1 else self._page_size
        self._usable = self._page_size - (self._bytes[20] if len(self._bytes) > 20 else 0)
        found: dict[int, _Message] = {}
        if self._page_size >= 512 and self._usable >= 480:
            for page in range(len(self._bytes) // self._page_size):
                found.update((message.row, message) for message in self._rows_of(page) if message.topic in topics)
        self._messages = sorted(found.values())
        counts = Counter(message.topic for message in self._messages)
        self.connections = [
            Connection(
                key,
                topic,
                msg_type,
                definitions.get(msg_type, MessageDefinition(MessageDefinitionFormat.NONE, "")),
                "",
                counts[key],
                ConnectionExtRosbag2("cdr", []),
                self,
            )
            for key, (topic, msg_type) in topics.items()
        ]
        self.damage = f"{name} is cut off or damaged; {len(self._messages)} messages can be read"
        if not self._messages:
            self.close()
            raise BagError(f"file {name}", self.damage, "a rosbag2 database", "leave it out: there is nothing to recover")
        self.start_ns, self.end_ns = self._messages[0].time_ns, self._messages[-1].time_ns

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """In order of time."""
        wanted = {c.id: c for c in connections if c.owner is self}
        for message in self._messages:
            if message.topic in wanted:
                row = b"".join(self._parts(message.payload, message.local, message.size))
                yield wanted[message.topic], message.time_ns, row[message.data_at :]

    def close(self) -> None:
        self._bytes.close()

    def _read_tables(self, path: Path) -> tuple[dict[int, tuple[str, str]], dict[str, MessageDefinition]]:
        """Topics (name and type by number) and definitions by type. Raises BagError if the topics are lost."""
        # Immutable: no lock and no log beside a file that may lie on a read-only disk.
        database = sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)
        try:
            # Without this, sqlite refuses a file that is shorter than its header says.
            database.execute("PRAGMA writable_schema=ON")
            rows = database.execute("SELECT id, name, type FROM topics WHERE serialization_format = 'cdr'").fetchall()
            try:  # only databases since Iron carry definitions
                query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                texts = database.execute(query).fetchall()
            except sqlite3.Error:
                texts = []
        except sqlite3.Error as error:
            remedy = "leave it out: nothing can be recovered"
            raise BagError(f"file {self._name}", str(error), "a rosbag2 database", remedy) from error
        finally:
            database.close()
        topics = {key: (topic, kind) for key, topic, kind in rows if isinstance(topic, str) and isinstance(kind, str)}
        return topics, {
            kind: MessageDefinition(FORMATS.get(encoding, MessageDefinitionFormat.NONE), text)
            for kind, encoding, text in texts
            if isinstance(kind, str) and isinstance(text, str)
        }

    def _rows_of(self, page: int) -> Iterator[_Message]:
        """The messages of a page; those of which a part is lost are left out."""
        begin, end = page * self._page_size, (page + 1) * self._page_size
        head = begin + (100 if page == 0 else 0)  # the head of the file is part of its first page
        if self._bytes[head] != TABLE_LEAF:
            return
        cells = struct.unpack_from(">H", self._bytes, head + 3)[0]
        for place in range(head + 8, min(head + 8 + 2 * cells, end - 1), 2):
            try:
                message = self._message_at(begin + struct.unpack_from(">H", self._bytes, place)[0], end)
            except (IndexError, struct.error):
                continue
            if message is not None:
                yield message

    def _message_at(self, at: int, end: int) -> _Message | None:
        """The row at an offset, if it is a message and all of it is there."""
        size, at = self._number(at)
        row, at = self._number(at)
        largest = self._usable - 35
        local = size
        if size > largest:
            smallest = (self._usable - 12) * 32 // 255 - 23
            local = smallest + (size - smallest) % (self._usable - 4)
            local = local if local <= largest else smallest
        if at + local > end or size > len(self._bytes):
            return None
        head_bytes, place = self._number(at)
        codes: list[int] = []
        while place < at + head_bytes and len(codes) < 5:
            code, place = self._number(place)
            codes.append(code)
        # id (the number of the row itself), topic_id, timestamp, data
        if len(codes) != 4 or codes[0] != NULL or codes[3] < FIRST_BLOB or codes[3] % 2 or head_bytes > local:
            return None
        values = []
        place = at + head_bytes
        for code in codes[1:3]:
            if code in (8, 9):  # the integers 0 and 1 take no room
                values.append(code - 8)
            elif code in INTEGER_BYTES:
                values.append(int.from_bytes(self._bytes[place : place + INTEGER_BYTES[code]], "big", signed=True))
                place += INTEGER_BYTES[code]
            else:
                return None
        data_at = place - at
        if size - data_at != (codes[3] - FIRST_BLOB) // 2:
            return None
        if sum(map(len, self._parts(at, local, size))) != size:
            return None
        return _Message(values[1], row, values[0], at, local, size, data_at)

    def _parts(self, at: int, local: int, size: int) -> Iterator[bytes]:
        """The parts of a row: the one in its page, then its overflow pages, up to the first that is lost."""
        yield self._bytes[at : at + local]
        left = size - local
        link = at + local
        while left > 0:
            page = struct.unpack_from(">I", self._bytes, link)[0] if link + 4 <= len(self._bytes) else 0
            link = (page - 1) * self._page_size
            if page < 1 or link + self._page_size > len(self._bytes):
                return
            part = self._bytes[link + 4 : link + 4 + min(left, self._usable - 4)]
            yield part
            left -= len(part)

    def _number(self, at: int) -> tuple[int, int]:
        """An integer of one to nine bytes, the high bit of a byte saying that another follows; and the offset behind it."""
        value = 0
        for i in range(8):
            byte = self._bytes[at + i]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value, at + i + 1
        return value << 8 | self._bytes[at + 8], at + 9
