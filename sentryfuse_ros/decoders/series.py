"""Numbers of any message type -> rows (k, C), one column for each value that the sensor's `fields` select.

Which numbers these are is fixed when the decoder is made, from the definition of the message type (`field_path.py`). Raw
messages are read in place, all messages of a poll at once (`field_layout.py`). Rows are in the units of the message.

Faults: NAN, a value that is not finite; OUT_OF_RANGE, a value outside the limits of its field; UNSUPPORTED, an array with fewer
elements than were selected; MALFORMED, bytes that are no message of the type. Values that are all 0 are no fault, because a
robot at rest sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DecodeError, ParameterError
from ..preprocessing.spec import ModalitySpec
from .batch import Batch, PayloadFault
from .cdr import ForeignEncoding, message_stamp_ns
from .decoder import Decoder, failure
from .field_layout import Layout, LayoutReader, check_length
from .field_path import Elements, Selection, select
from .message_definition import Message

LARGEST = float(np.finfo(np.float32).max)  # rows are float32, so a larger value has no place in one
MAX_LAYOUTS = 16  # that are remembered; a topic whose messages have ever new sizes must not fill the memory
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # its odd multiples tell the columns apart in a fingerprint


@dataclass(frozen=True)
class FieldReading:
    """What a sensor reads of messages of any type.

    paths: see `field_path`. low and high: limits of the values, one number for all paths or one for each. definition: that of
    the message type, None where the type is not known.
    """

    paths: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    definition: Message | None


class SeriesDecoder(Decoder):
    """Decoder of the selected fields of one message type. Raises ParameterError for fields that the type does not have."""

    kind = "series"

    def __init__(
        self,
        msg_type: str,
        spec: ModalitySpec | None,
        limits: Mapping[str, float] | None,
        deserialize: Callable[[bytes], Any] | None,
        reading: FieldReading,
    ) -> None:
        super().__init__(msg_type, spec, limits, deserialize)
        if not reading.paths:
            raise ParameterError(
                "fields", "none", "the values to read, such as twist.twist.linear.x or effort[0:4]", "set fields"
            )
        if reading.definition is None:
            raise ParameterError("type", repr(msg_type), "a message type whose definition is known", "set type")
        self.headerless = not reading.definition.has_header
        by_path = [select([path], reading.definition) for path in reading.paths]
        self._selections: tuple[Selection, ...] = tuple(selection for found in by_path for selection in found)
        self.value_names = [name for selection in self._selections for name in selection.value_names()]
        self._reader = LayoutReader(reading.definition, self._selections)
        widths = [sum(selection.width for selection in found) for found in by_path]
        self._low, self._high = (_per_value(n, v, widths) for n, v in (("field_min", reading.low), ("field_max", reading.high)))
        for column in np.flatnonzero(~(self._low <= self._high)):
            raise ParameterError(
                "field_min",
                f"{self._low[column]:g} for {self.value_names[column]}",
                f"at most its field_max {self._high[column]:g}",
            )
        if spec is not None and spec.channels != len(self.value_names):
            raise ParameterError(
                f"model input {spec.name!r}",
                f"{len(self.value_names)} values: {', '.join(self.value_names)}",
                f"{spec.channels} values, one for each of its channels",
                "correct the sensor's parameter fields, or its model_input",
            )
        self._layouts: dict[int, Layout] = {}  # by the size of the message, the newest of each
        self._mix = (np.arange(1, len(self.value_names) + 1, dtype=np.uint64) * _GOLDEN) | np.uint64(1)

    def decode(self, messages: Sequence[Any], arrival_stamp_ns: Sequence[int] | np.ndarray | None = None) -> Batch:
        """See `Decoder`."""
        count = len(messages)
        stamp_ns, fault = np.zeros(count, np.int64), np.zeros(count, np.uint8)
        values = np.zeros((count, len(self.value_names)))  # float64: in float32 unequal payloads could get equal fingerprints
        error = ""
        for i in self._read_together(messages, stamp_ns, values):
            try:
                stamp_ns[i], values[i] = self._read_one(messages[i])
            except Exception as problem:  # whatever a publisher sends must become a counted fault
                stamp_ns[i], values[i] = 0, 0.0
                fault[i], error = failure(problem, self.msg_type)
        parsed = fault == PayloadFault.NONE
        if arrival_stamp_ns is not None:
            unstamped = parsed & ((stamp_ns == 0) | bool(self.limits["use_arrival_stamp"]))
            stamp_ns = np.where(unstamped, np.asarray(arrival_stamp_ns, np.int64), stamp_ns)
        fingerprint = np.where(parsed, self._fingerprints(values), np.uint64(0))
        error = self._check(values, fault, parsed) or error
        good = fault == PayloadFault.NONE
        return Batch(stamp_ns, fault, fingerprint, stamp_ns[good], values[good].astype(np.float32), error)

    def _read_together(self, messages: Sequence[Any], stamp_ns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Fill stamps and values of the raw messages whose layout is known; returns the indices of the others."""
        by_size: dict[int, list[int]] = {}
        for i, message in enumerate(messages):
            if type(message) is bytes:
                by_size.setdefault(len(message), []).append(i)
        unread = np.ones(len(messages), bool)
        for size, indices in by_size.items():
            layout = self._layouts.get(size) or self._layout_of(messages[indices[0]])
            if layout is None:
                continue
            at = np.array(indices)
            stamps, numbers = np.zeros(len(at), np.int64), np.zeros((len(at), values.shape[1]))
            fits = layout.read([messages[i] for i in indices], stamps, numbers)
            stamp_ns[at[fits]], values[at[fits]] = stamps[fits], numbers[fits]
            unread[at[fits]] = False
        return np.flatnonzero(unread)

    def _layout_of(self, message: bytes) -> Layout | None:
        """The layout of a message, kept for later ones of its size; None where it cannot be read, which `_read_one` reports."""
        try:
            layout = self._reader.layout(message)
        except DecodeError:
            return None
        self._keep(layout)
        return layout

    def _keep(self, layout: Layout) -> None:
        """Remember a layout. The next messages of its size are more likely to be like this one than like an older one."""
        if len(self._layouts) >= MAX_LAYOUTS:
            self._layouts.clear()
        self._layouts[layout.size] = layout

    def _read_one(self, message: Any) -> tuple[int, np.ndarray]:
        if not isinstance(message, (bytes, bytearray, memoryview)):
            return self._read_object(message)
        raw = bytes(message)
        try:
            layout = self._reader.layout(raw)
        except ForeignEncoding:
            if self.deserialize is None:
                raise
            return self._read_object(self.deserialize(raw))
        self._keep(layout)
        stamp_ns, values = np.zeros(1, np.int64), np.zeros((1, len(self.value_names)))
        layout.read([raw], stamp_ns, values)
        return int(stamp_ns[0]), values[0]

    def _read_object(self, message: Any) -> tuple[int, np.ndarray]:
        values = [_values_of(message, selection.steps, self.msg_type) for selection in self._selections]
        return 0 if self.headerless else message_stamp_ns(message), np.concatenate(values)

    def _fingerprints(self, values: np.ndarray) -> np.ndarray:
        """(n, C) float64 -> (n,) uint64, equal for equal rows."""
        bits = values.view(np.uint64)
        bits = (bits ^ (bits >> np.uint64(29))) * self._mix  # wraps
        return np.bitwise_xor.reduce(bits ^ (bits >> np.uint64(32)), axis=1)

    def _check(self, values: np.ndarray, fault: np.ndarray, parsed: np.ndarray) -> str:
        """Write the faults of parsed rows (n, C) into ``fault``; returns the text of the last, "" where all are good."""
        inside = (values >= self._low) & (values <= self._high)  # false for NaN as well, and for inf by LARGEST
        bad = np.flatnonzero(parsed & ~inside.all(axis=1))
        if not len(bad):
            return ""
        finite = np.isfinite(values[bad]).all(axis=1)
        fault[bad] = np.where(finite, PayloadFault.OUT_OF_RANGE, PayloadFault.NAN)
        last = bad[-1]
        column = int(np.flatnonzero(~(inside if finite[-1] else np.isfinite(values))[last])[0])
        seen, name = f"{values[last, column]:g}", self.value_names[column]
        if not finite[-1]:
            return str(DecodeError(f"{self.msg_type} {name}", seen, "a finite number", "check the driver"))
        return str(
            DecodeError(
                f"{self.msg_type} {name}",
                seen,
                f"{self._low[column]:g} to {self._high[column]:g}",
                "check the driver's units, or change field_min or field_max",
            )
        )


def _per_value(parameter: str, numbers: Sequence[float], widths: Sequence[int]) -> np.ndarray:
    """A limit for each value (C,), from one for all paths or one for each; ``widths``: number of values of each path."""
    if len(numbers) not in (1, len(widths)):
        raise ParameterError(parameter, f"{len(numbers)} numbers", f"one number, or {len(widths)}: one for each of fields")
    each = np.resize(np.asarray(numbers, np.float64), len(widths))
    return np.clip(np.repeat(each, widths), -LARGEST, LARGEST)


def _values_of(value: Any, steps: Sequence[Any], what: str, name: str = "") -> np.ndarray:
    """The numbers that the rest of a path selects of a deserialised message, float64."""
    for i, step in enumerate(steps):
        if not isinstance(step, Elements):
            value, name = getattr(value, step), step
            continue
        check_length(what, name, len(value), step)
        part = value[step.start : step.stop]
        if steps[i + 1 :]:
            return np.concatenate([_values_of(item, steps[i + 1 :], what, name) for item in part])
        return np.asarray(part if not isinstance(part, (bytes, bytearray)) else list(part), np.float64)
    return np.asarray([value], np.float64)
