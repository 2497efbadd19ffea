"""Where the selected numbers lie in a serialised message, and reading them from many messages at once.

The place of a field depends on the lengths of the strings and sequences before it. One message is therefore walked field by
field, which gives a `Layout`: the places of the numbers, and every length with the place where it was read. A message of the
same size that has the same lengths at the same places has the same layout, because each length decides where the next one
lies. Messages of one topic almost always do, so their numbers are taken as columns of one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import DecodeError
from ..nanoseconds import NS_PER_S
from .batch import PayloadFault
from .cdr import HEADER_BYTES, CdrReader, ForeignEncoding
from .decoder import Rejected
from .field_path import Elements, Selection, Step, width_of
from .message_definition import Array, FieldType, Message, Number, Text

MAX_STEPS = 5_000  # items of one message that are walked one by one; more would take longer than a tick can wait


class _Span(NamedTuple):
    """Numbers that lie side by side."""

    offset: int
    dtype: np.dtype
    width: int
    column: int  # of the first


class _Wanted(NamedTuple):
    """The rest of a path, and the column of its first value."""

    steps: tuple[Step, ...]
    column: int


@dataclass(frozen=True)
class Layout:
    """Places of the selected numbers in messages of ``size`` bytes whose lengths are ``lengths``."""

    size: int
    spans: tuple[_Span, ...]
    length_words: np.ndarray  # int64 (k,) index of every length among the 4-byte words of the message
    lengths: np.ndarray  # uint32 (k,)
    stamp_at: int  # offset of the header's stamp, -1 without a header

    def read(self, messages: Sequence[bytes], stamp_ns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Fill stamps (n,) [ns] and values (n, C) from messages of this size; bool (n,), True where the layout is theirs."""
        n, size = len(messages), self.size
        data = b"".join(messages)
        fits = np.ndarray((n,), ">u2", data, 0, (size,)) == 1  # XCDR1 little-endian
        if len(self.lengths):
            words = np.ndarray((n, size // 4), "<u4", data, 0, (size, 4))
            fits &= (words[:, self.length_words] == self.lengths).all(axis=1)
        if self.stamp_at >= 0:
            second = np.ndarray((n,), "<i4", data, self.stamp_at, (size,)).astype(np.int64)
            nanosecond = np.ndarray((n,), "<u4", data, self.stamp_at + 4, (size,))
            fits &= nanosecond < NS_PER_S
            stamp_ns[:] = second * NS_PER_S + nanosecond
        for offset, dtype, width, column in self.spans:
            values[:, column : column + width] = np.ndarray((n, width), dtype, data, offset, (size, dtype.itemsize))
        return fits


class LayoutReader:
    """Finds the layouts of messages of one type. Raises ParameterError for nothing: the selections have been checked."""

    def __init__(self, definition: Message, selections: Sequence[Selection]):
        self._definition = definition
        self._wanted: list[_Wanted] = []
        self.width = 0
        for selection in selections:
            self._wanted.append(_Wanted(selection.steps, self.width))
            self.width += selection.width

    def layout(self, message: bytes) -> Layout:
        """The layout of one message.

        Raises DecodeError where it is no message of the type, Rejected where a selected element is missing, and
        ForeignEncoding where it is serialised in a way that is not read here.
        """
        return _Walk(CdrReader(message, self._definition.name)).run(self._definition, self._wanted)


class _Walk:
    """One pass over one message."""

    def __init__(self, reader: CdrReader):
        self._reader = reader
        self._spans: list[_Span] = []
        self._places: list[int] = []
        self._lengths: list[int] = []
        self._stamp_at = -1
        self._steps = 0

    def run(self, definition: Message, wanted: Sequence[_Wanted]) -> Layout:
        reader = self._reader
        for name, kind in definition.fields.items():
            if name == "header" and definition.has_header:
                self._stamp_at = reader.offset + (HEADER_BYTES - reader.offset) % 4
                nanosecond_at = self._stamp_at + 4
                self._field(kind, _inside(wanted, name), name)
                nanosecond = int.from_bytes(reader.buffer[nanosecond_at : nanosecond_at + 4], "little")
                if nanosecond >= NS_PER_S:
                    raise DecodeError(f"{reader.what} stamp", f"{nanosecond} ns", "under 1e9 ns", "check the publisher's clock")
            else:
                self._field(kind, _inside(wanted, name), name)
        if reader.left >= HEADER_BYTES:  # a serialised payload may be padded to a multiple of 4, but not by more
            raise DecodeError(
                reader.what, f"{reader.size} bytes", f"{reader.offset}", "the message is corrupt or of another type"
            )
        places = np.array(self._places, np.int64)
        return Layout(reader.size, tuple(self._spans), places // 4, np.array(self._lengths, np.uint32), self._stamp_at)

    def _field(self, kind: FieldType, wanted: Sequence[_Wanted], name: str) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise Rejected(
                PayloadFault.UNSUPPORTED,
                self._reader.what,
                f"more than {MAX_STEPS} items",
                "a message that can be read in time",
                "take the values from a topic with smaller messages",
            )
        if isinstance(kind, Number):
            offset = self._reader.take(kind.dtype.itemsize, kind.dtype.itemsize)
            self._spans += [_Span(offset, kind.dtype, 1, rest.column) for rest in wanted]
        elif isinstance(kind, Text):
            self._text(kind)
        elif isinstance(kind, Message):
            for inner, inner_kind in kind.fields.items():
                self._field(inner_kind, _inside(wanted, inner), inner)
        else:
            self._array(kind, wanted, name)

    def _text(self, kind: Text) -> None:
        if kind.wide:
            raise ForeignEncoding(f"{self._reader.what}", "a wstring", "strings of single bytes")
        self._reader.take(self._length(), 1)

    def _length(self) -> int:
        length = self._reader.uint32()
        self._places.append(self._reader.offset - 4)
        self._lengths.append(length)
        return length

    def _array(self, kind: Array, wanted: Sequence[_Wanted], name: str) -> None:
        count = self._length() if kind.size is None else kind.size
        for rest in wanted:
            check_length(self._reader.what, name, count, rest.steps[0])
        if isinstance(kind.item, Number):
            if not count:  # an empty sequence is not aligned to its element
                return
            itemsize = kind.item.dtype.itemsize
            offset = self._reader.take(count * itemsize, itemsize)
            for rest in wanted:
                elements = rest.steps[0]
                assert isinstance(elements, Elements)
                span = _Span(offset + elements.start * itemsize, kind.item.dtype, width_of(rest.steps), rest.column)
                self._spans.append(span)
            return
        if count > self._reader.left:  # every item has at least one byte
            raise DecodeError(
                self._reader.what, f"{count} items in {name}", "no more than the message has bytes", "the message is corrupt"
            )
        for i in range(count):
            self._field(kind.item, _at(wanted, i), name)


def check_length(what: str, name: str, count: int, elements: Step) -> None:
    """Raises Rejected where an array has fewer elements than a path selects."""
    if isinstance(elements, Elements) and count < (elements.stop or 0):
        raise Rejected(
            PayloadFault.UNSUPPORTED,
            f"{what} {name}",
            f"{count} elements",
            f"at least {elements.stop}, for {name}{elements}",
            "correct the sensor's parameter fields, or have the driver fill the array",
        )


def _inside(wanted: Sequence[_Wanted], name: str) -> list[_Wanted]:
    return [_Wanted(rest.steps[1:], rest.column) for rest in wanted if rest.steps[0] == name] if wanted else []


def _at(wanted: Sequence[_Wanted], index: int) -> list[_Wanted]:
    """What is wanted of the element at ``index`` of an array."""
    found = []
    for rest in wanted:
        elements = rest.steps[0]
        if isinstance(elements, Elements) and elements.start <= index < (elements.stop or 0):
            inner = rest.steps[1:]
            found.append(_Wanted(inner, rest.column + (index - elements.start) * width_of(inner)))
    return found
