"""The frame all decoders share: read each message, never raise, say in a Batch what came out.

A message is raw CDR (`bytes`) or a deserialised object of rclpy or rosbags. Raw little-endian XCDR1 is read in
place; anything else well-formed goes to the given real ``deserialize``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import DecodeError, ParameterError
from ..preprocessing.spec import ModalitySpec
from .batch import Batch, Fault
from .cdr import CdrReader, ForeignEncoding

# Understood by every decoder: 1 stamps rows by arrival, for drivers whose header stamps cannot be trusted.
COMMON_LIMITS = {"use_arrival_stamp": 0}


class Decoder(Protocol):
    """Messages of one sensor in, one Batch out; keeps no message."""

    kind: str
    msg_types: tuple[str, ...]

    def decode(self, messages: Sequence[Any], arrival_stamp_ns: Sequence[int] | None = None) -> Batch:
        """Never raises for bad input. ``arrival_stamp_ns`` (n,) [ns, node clock] stamps messages that have no
        header or leave its stamp at 0; without it their stamp is 0."""
        ...

    def reset(self) -> None:
        """Forget what came before, e.g. after a jump of the clock."""
        ...


class Rejected(DecodeError):
    """A message that could be read and is not used; carries its Fault."""

    def __init__(self, fault: Fault, thing: str, seen: Any = None, expected: Any = None, remedy: str | None = None):
        super().__init__(thing, seen, expected, remedy)
        self.fault = fault


def with_limits(kind: str, defaults: Mapping[str, float], limits: Mapping[str, float] | None) -> dict[str, float]:
    """Defaults overridden by ``limits``; raises ParameterError on a name the kind does not have."""
    known = {**COMMON_LIMITS, **defaults}
    for name, value in (limits or {}).items():
        if name not in known:
            raise ParameterError(f"{kind} limit {name!r}", name, "one of " + ", ".join(known), "correct the name")
        if isinstance(value, str) or not np.isfinite(value):
            raise ParameterError(f"{kind} limit {name!r}", repr(value), "a finite number", "correct the value")
    return {**known, **(limits or {})}


def failure(error: Exception, what: str) -> tuple[Fault, str]:
    """Fault and text of whatever went wrong while reading one message of type ``what``."""
    if isinstance(error, Rejected):
        return error.fault, str(error)
    if isinstance(error, ForeignEncoding):
        return Fault.UNSUPPORTED, str(error)
    if isinstance(error, DecodeError):
        return Fault.MALFORMED, str(error)
    return Fault.MALFORMED, f"{what}: {type(error).__name__}: {error}"


class MessageDecoder:
    """Base of the decoders that look at messages one by one; subclasses say how to read, check and convert.

    ``_read_raw`` and ``_read_object`` return a record with ``stamp_ns`` (0: none); ``_fingerprint``, ``_check``
    (raises Rejected) and ``_rows`` -> (row_stamp_ns (m,), rows (m, ...)) take that record.
    """

    kind = ""
    msg_types: tuple[str, ...] = ()
    default_limits: Mapping[str, float] = {}

    def __init__(
        self,
        msg_type: str,
        spec: ModalitySpec | None = None,
        limits: Mapping[str, float] | None = None,
        deserialize: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.msg_type, self.spec, self.deserialize = msg_type, spec, deserialize
        self.limits = with_limits(self.kind, self.default_limits, limits)

    def decode(self, messages: Sequence[Any], arrival_stamp_ns: Sequence[int] | None = None) -> Batch:
        """See `Decoder`. Without a spec messages are only checked, and there are no rows."""
        count = len(messages)
        batch = Batch(
            np.zeros(count, np.int64),
            np.zeros(count, np.uint8),
            np.zeros(count, np.uint64),
            np.empty(0, np.int64),
            self._no_rows(),
        )
        row_stamps, rows = [], []
        for i, message in enumerate(messages):
            try:
                record = self._read(message)
                if arrival_stamp_ns is not None and (record.stamp_ns == 0 or self.limits["use_arrival_stamp"]):
                    self._stamp_by_arrival(record, int(arrival_stamp_ns[i]))
                batch.stamp_ns[i] = record.stamp_ns
                batch.fingerprint[i] = self._fingerprint(record)
                self._check(record)
                if self.spec is not None:
                    stamps, values = self._rows(record)
                    row_stamps.append(stamps)
                    rows.append(values)
            except Exception as error:  # whatever a publisher sends must end as a counted fault
                batch.fault[i], batch.error = failure(error, self.msg_type)
                self._refused()
        if rows:
            batch.row_stamp_ns = np.concatenate(row_stamps)
            batch.rows = rows[0] if len(rows) == 1 else np.concatenate(rows)
        return batch

    def reset(self) -> None:
        """Nothing is remembered from message to message."""

    def _read(self, message: Any) -> Any:
        if not isinstance(message, (bytes, bytearray, memoryview)):
            return self._read_object(message)
        try:
            return self._read_raw(CdrReader(message, self.msg_type))
        except ForeignEncoding:
            if self.deserialize is None:
                raise
            return self._read_object(self.deserialize(bytes(message)))

    def _no_rows(self) -> np.ndarray:
        return np.empty((0, *self.spec.row_shape) if self.spec is not None else (0,), np.float32)

    def _stamp_by_arrival(self, record: Any, arrival_ns: int) -> None:
        record.stamp_ns = arrival_ns

    def _refused(self) -> None:
        """Called after a message that gave no rows."""

    def _read_raw(self, reader: CdrReader) -> Any:
        raise NotImplementedError

    def _read_object(self, message: Any) -> Any:
        raise NotImplementedError

    def _fingerprint(self, record: Any) -> int:
        raise NotImplementedError

    def _check(self, record: Any) -> None:
        raise NotImplementedError

    def _rows(self, record: Any) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError
