"""What all decoders share. A decoder reads every message, never raises, and reports in a Batch what it found.

A message is raw CDR (`bytes`) or a deserialised object of rclpy or rosbags. Raw little-endian XCDR1 is read in place. Any
other well-formed message goes through ``deserialize``, the deserialiser of the middleware, if one was given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from ..errors import DecodeError, ParameterError
from ..preprocessing.spec import ModalitySpec
from .batch import Batch, PayloadFault
from .cdr import CdrReader, ForeignEncoding

# Limits that every decoder has. 1 stamps rows by arrival, for drivers whose header stamps cannot be trusted.
COMMON_LIMITS = {"use_arrival_stamp": 0.0}


class Decoder(ABC):
    """Messages of one sensor in, one Batch out. A decoder keeps no reference to a message.

    ``spec``: the model input that the rows are made for, None to check messages only. ``limits`` override the numbers in
    ``default_limits``. Raises ParameterError for a limit that the decoder does not have.
    """

    kind: ClassVar[str] = ""
    msg_types: ClassVar[tuple[str, ...]] = ()
    default_limits: ClassVar[Mapping[str, float]] = {}
    headerless = False  # True: messages have no header, so they are stamped with the time of arrival
    value_names: Sequence[str] = ()  # of the values in a row, where fields were selected

    def __init__(
        self,
        msg_type: str = "",
        spec: ModalitySpec | None = None,
        limits: Mapping[str, float] | None = None,
        deserialize: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.msg_type = msg_type or self.msg_types[0]
        self.spec, self.deserialize = spec, deserialize
        self.limits = with_limits(self.kind, self.default_limits, limits)
        self.picture_size: tuple[int, int] | None = None  # of a camera: rows and columns of the picture that made the newest row
        self.rows_from = 0  # messages of a batch before this one are checked as always, but no rows need be made of them

    @abstractmethod
    def decode(self, messages: Sequence[Any], arrival_stamp_ns: Sequence[int] | np.ndarray | None = None) -> Batch:
        """Read messages; bad ones become faults in the Batch and are never raised.

        ``arrival_stamp_ns`` (n,) [ns, node clock] stamps messages that have no header or leave its stamp at 0. Without it
        their stamp is 0.
        """

    def reset(self) -> None:
        """Forget earlier messages, for example after a jump of the clock.

        Most decoders judge every message by itself and have nothing to forget.
        """
        return


class Rejected(DecodeError):
    """A message that could be read but must not be used; ``fault`` says why."""

    def __init__(self, fault: PayloadFault, thing: str, seen: Any = None, expected: Any = None, remedy: str | None = None):
        super().__init__(thing, seen, expected, remedy)
        self.fault = fault


def with_limits(kind: str, defaults: Mapping[str, float], limits: Mapping[str, float] | None) -> dict[str, float]:
    """The defaults, overridden by ``limits``; raises ParameterError for a name the decoder does not have or a value that is
    no finite number."""
    known = {**COMMON_LIMITS, **defaults}
    for name, value in (limits or {}).items():
        if name not in known:
            raise ParameterError(f"{kind} limit {name!r}", name, "one of " + ", ".join(known), "correct the name")
        if isinstance(value, str) or not np.isfinite(value):
            raise ParameterError(f"{kind} limit {name!r}", repr(value), "a finite number", "correct the value")
    return {**known, **(limits or {})}


def failure(error: Exception, what: str) -> tuple[PayloadFault, str]:
    """Fault and text for an error that came up while reading one message of type ``what``."""
    if isinstance(error, Rejected):
        return error.fault, str(error)
    if isinstance(error, ForeignEncoding):
        return PayloadFault.UNSUPPORTED, str(error)
    if isinstance(error, DecodeError):
        return PayloadFault.MALFORMED, str(error)
    return PayloadFault.MALFORMED, f"{what}: {type(error).__name__}: {error}"


class StampedRecord(Protocol):
    """One message as its decoder has read it."""

    stamp_ns: int  # header stamp, 0 where there is none


Record = TypeVar("Record", bound=StampedRecord)


class MessageDecoder(Decoder, Generic[Record]):
    """Base of the decoders that look at messages one by one. A subclass says how a message is read, checked and converted."""

    def decode(self, messages: Sequence[Any], arrival_stamp_ns: Sequence[int] | np.ndarray | None = None) -> Batch:
        """See `Decoder`. Without a spec there are no rows."""
        count = len(messages)
        batch = Batch(
            np.zeros(count, np.int64),
            np.zeros(count, np.uint8),
            np.zeros(count, np.uint64),
            np.empty(0, np.int64),
            self._no_rows(),
        )
        row_stamps: list[np.ndarray] = []
        rows: list[np.ndarray] = []
        for i, message in enumerate(messages):
            try:
                record = self.read(message)
                if arrival_stamp_ns is not None and (record.stamp_ns == 0 or self.limits["use_arrival_stamp"]):
                    self.stamp_by_arrival(record, int(arrival_stamp_ns[i]))
                batch.stamp_ns[i] = record.stamp_ns
                batch.fingerprint[i] = self.fingerprint(record)
                self.check(record)
                if self.spec is not None and i >= self.rows_from:
                    stamps, values = self.rows(record, self.spec)
                    row_stamps.append(stamps)
                    rows.append(values)
            except Exception as error:  # whatever a publisher sends must become a counted fault
                batch.fault[i], batch.error = failure(error, self.msg_type)
                self.after_refusal()
        if rows:
            batch.row_stamp_ns = np.concatenate(row_stamps)
            batch.rows = rows[0] if len(rows) == 1 else np.concatenate(rows)
        return batch

    def read(self, message: Any) -> Record:
        """Read a message of either form."""
        if not isinstance(message, (bytes, bytearray, memoryview)):
            return self.read_object(message)
        try:
            return self.read_raw(CdrReader(message, self.msg_type))
        except ForeignEncoding:
            if self.deserialize is None:
                raise
            return self.read_object(self.deserialize(bytes(message)))

    def _no_rows(self) -> np.ndarray:
        return np.empty((0, *self.spec.row_shape) if self.spec is not None else (0,), np.float32)

    def stamp_by_arrival(self, record: Record, arrival_ns: int) -> None:
        """Stamp a message that has no stamp of its own, or whose stamp is not trusted."""
        record.stamp_ns = arrival_ns

    def after_refusal(self) -> None:
        """Called after a message that gave no rows."""
        return

    @abstractmethod
    def read_raw(self, reader: CdrReader) -> Record:
        """Read a serialised message; raises DecodeError, Rejected or ForeignEncoding."""

    @abstractmethod
    def read_object(self, message: Any) -> Record:
        """Read a deserialised message; raises DecodeError or Rejected."""

    @abstractmethod
    def fingerprint(self, record: Record) -> int:
        """64 bits that are equal for equal payloads; the header does not count."""

    @abstractmethod
    def check(self, record: Record) -> None:
        """Raises Rejected where the payload must not be used."""

    @abstractmethod
    def rows(self, record: Record, spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (m,) [ns] and rows (m, ...) float32 of a good message."""
