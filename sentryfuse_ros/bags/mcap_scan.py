"""Read an mcap file without its index: as far as it goes if the recorder crashed, and files with an unusual head.

Source of the format: https://mcap.dev/spec. A file is a row of records, each with an opcode, a length and its content. Messages
lie in chunks, or directly in the file.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat

from ..errors import BagError
from .compression import decompress_start

MAGIC = b"\x89MCAP0\r\n"
NO_RECORD = 0x00  # no record has this opcode; a disk that lost its power may leave zeros behind the last one
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
HEAD = 9  # bytes of opcode and length
FOOTER_BYTES = 37  # the footer record and the magic at the end of a complete file
RUN_BYTES = 1 << 20  # messages outside chunks are read in runs of this size
FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL, "omgidl": MessageDefinitionFormat.IDL}


@dataclass(frozen=True)
class _Block:
    """A part of the file with messages: a chunk's compressed content, or a run of records that are not in a chunk."""

    offset: int
    size: int
    compression: str
    start_ns: int


def has_index(path: Path) -> bool:
    """Whether a file has an end that says where its index is."""
    if path.stat().st_size < len(MAGIC) + FOOTER_BYTES:
        return False
    with path.open("rb") as file:
        file.seek(-FOOTER_BYTES, 2)
        end = file.read()
    return end.endswith(MAGIC) and end[0] == FOOTER and struct.unpack_from("<Q", end, HEAD)[0] > 0


class McapScan:
    """An mcap file, read from its beginning. Raises BagError if not one message can be read."""

    def __init__(self, path: Path, name: str):
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._name = name
        self._schemas: dict[int, tuple[str, MessageDefinition]] = {}
        self._channels: dict[int, tuple[str, str, MessageDefinition, str]] = {}
        self._counts: Counter[int] = Counter()
        self._blocks: list[_Block] = []
        self.start_ns, self.end_ns = (1 << 63) - 1, 0
        self._lost_chunks, self._broken_chunks = 0, 0
        self._complete = False
        if has_index(path):
            self._read_summary()  # the definitions are there too, and those in a damaged chunk are lost
        self._scan()
        self.connections = [
            Connection(key, topic, msg_type, definition, "", self._counts[key], ConnectionExtRosbag2(encoding, []), self)
            for key, (topic, msg_type, definition, encoding) in self._channels.items()
            if encoding == "cdr"
        ]
        read = sum(c.msgcount for c in self.connections)
        self.damage = self._damage(read)
        if not read:
            self._file.close()
            raise BagError(
                f"file {name}", self.damage or "no messages", "a ROS 2 recording", "leave it out: there is nothing to recover"
            )

    def _damage(self, read: int) -> str:
        texts = []
        if not self._complete:
            texts.append("breaks off without an end, as after a crash of the recorder")
        if self._lost_chunks:
            texts.append(f"has {self._lost_chunks} chunks that cannot be unpacked")
        if self._broken_chunks:
            texts.append(f"has {self._broken_chunks} chunks with damaged records")
        return f"{self._name} {' and '.join(texts)}; {read} messages can be read" if texts else ""

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """In order of time, as far as the blocks overlap in time."""
        wanted = {c.id: c for c in connections if c.owner is self}
        blocks = sorted(self._blocks, key=lambda block: block.start_ns)
        waiting: list[tuple[int, int, int, bytes]] = []
        order = 0
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            for key, time_ns, raw in self._messages_of(self._content(block)):
                if key in wanted:
                    heapq.heappush(waiting, (time_ns, order, key, raw))
                    order += 1
            while waiting and (after is None or waiting[0][0] <= after.start_ns):
                time_ns, _, key, raw = heapq.heappop(waiting)
                yield wanted[key], time_ns, raw

    def close(self) -> None:
        self._file.close()

    def _scan(self) -> None:
        """Find the blocks and what they hold, up to the end of what is there."""
        at = len(MAGIC)
        run_begin = None  # where a run of messages outside chunks began
        while at + HEAD <= self._size:
            self._file.seek(at)
            opcode, length = struct.unpack("<BQ", self._file.read(HEAD))
            if opcode == NO_RECORD:
                break
            end = at + HEAD + length
            if run_begin is not None and (opcode == CHUNK or end > self._size or end - run_begin > RUN_BYTES):
                self._add(run_begin, at - run_begin, "")
                run_begin = None
            if opcode in (DATA_END, FOOTER):
                self._complete = True
                break
            if opcode == CHUNK:
                self._scan_chunk(at + HEAD, min(end, self._size))
            if end > self._size:
                return
            if opcode in (SCHEMA, CHANNEL):
                self._file.seek(at + HEAD)  # taking in a run has moved the place
                self._define(opcode, self._file.read(length))
            elif opcode == MESSAGE and run_begin is None:
                run_begin = at
            at = end
        if run_begin is not None:
            self._add(run_begin, at - run_begin, "")

    def _read_summary(self) -> None:
        """Take in the schemas and channels at the end of a complete file."""
        self._file.seek(self._size - FOOTER_BYTES + HEAD)
        start = struct.unpack("<Q", self._file.read(8))[0]
        if start < self._size:
            self._file.seek(start)
            for opcode, record in _records(self._file.read()):
                if opcode in (SCHEMA, CHANNEL):
                    self._define(opcode, record)

    def _scan_chunk(self, begin: int, end: int) -> None:
        self._file.seek(begin)
        head = self._file.read(32)
        if len(head) < 32:
            return
        _, _, _, checksum, name_bytes = struct.unpack("<QQQII", head)
        name = self._file.read(name_bytes)
        size_field = self._file.read(8)
        if name_bytes > 64 or len(size_field) < 8:
            return
        offset = self._file.tell()
        size = struct.unpack("<Q", size_field)[0]
        whole = offset + size <= end
        self._add(offset, min(size, end - offset), name.decode(errors="replace"), checksum if whole else 0, whole)

    def _add(self, offset: int, size: int, compression: str, checksum: int = 0, whole: bool = True) -> None:
        """Take a block in, if its content can be read. A ``whole`` one ends with the end of a record."""
        block = _Block(offset, size, compression, 0)
        try:
            content = self._content(block)
            if checksum and zlib.crc32(content) != checksum:
                raise ValueError("checksum")
        except ValueError:
            self._lost_chunks += 1
            return
        reached = 0
        for opcode, record in _records(content):
            reached += HEAD + len(record)
            if opcode in (SCHEMA, CHANNEL):
                self._define(opcode, record)
        self._broken_chunks += whole and reached < len(content)
        times = []
        for key, time_ns, _ in self._messages_of(content):
            self._counts[key] += 1
            times.append(time_ns)
        if times:
            self._blocks.append(_Block(offset, size, compression, min(times)))
            self.start_ns, self.end_ns = min(self.start_ns, *times), max(self.end_ns, *times)

    def _content(self, block: _Block) -> bytes:
        self._file.seek(block.offset)
        return decompress_start(self._file.read(block.size), block.compression)

    def _messages_of(self, content: bytes) -> Iterator[tuple[int, int, bytes]]:
        for opcode, record in _records(content):
            if opcode == MESSAGE and len(record) >= 22:
                key, _, time_ns, _ = struct.unpack_from("<HIQQ", record)
                if key in self._channels:
                    yield key, time_ns, record[22:]

    def _define(self, opcode: int, record: bytes) -> None:
        """Take in a schema or a channel; a damaged one is passed over, and so are its messages."""
        try:
            key = struct.unpack_from("<H", record)[0]
            if opcode == SCHEMA:
                name, at = _string(record, 2)
                encoding, at = _string(record, at)
                text, _ = _string(record, at)
                self._schemas[key] = (name, MessageDefinition(FORMATS.get(encoding, MessageDefinitionFormat.NONE), text))
            elif key not in self._channels:
                name, definition = self._schemas.get(struct.unpack_from("<H", record, 2)[0], ("", _NO_DEFINITION))
                topic, at = _string(record, 4)
                encoding, _ = _string(record, at)
                self._channels[key] = (topic, name, definition, encoding)
        except (struct.error, UnicodeDecodeError):
            return


_NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(opcode, content) of the whole records; what is cut off at the end is left out."""
    at = 0
    while at + HEAD <= len(content):
        opcode, length = struct.unpack_from("<BQ", content, at)
        at += HEAD
        if at + length > len(content):
            return
        yield opcode, content[at : at + length]
        at += length


def _string(record: bytes, at: int) -> tuple[str, int]:
    size = struct.unpack_from("<I", record, at)[0]
    return record[at + 4 : at + 4 + size].decode(), at + 4 + size
