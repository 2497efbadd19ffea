"""sensor_msgs/Imu -> rows (k, 6): gyro xyz [rad/s], accel xyz [m/s^2].

Messages arrive at hundreds of hertz, so all messages of a poll are read at once: raw messages of equal length are joined and
viewed as one array. An Imu message ends in 37 doubles (orientation 4, covariance 9, gyro 3, covariance 9, accel 3,
covariance 9), so gyro is doubles 13-15 and accel 25-27.

Faults: NAN, a value that is not finite; OUT_OF_RANGE, a value beyond the limits; EMPTY, something was not measured. That is so
where all six values are exactly 0, which a real sensor never sends because it has noise; where the covariance of gyro or accel
begins with -1, which sensor_msgs/Imu defines as no estimate; and from the moment on when in each of ``zero_run`` messages in a
row gyro or accel is exactly 0, as in the topics of a driver that publishes the two one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DecodeError
from ..nanoseconds import NS_PER_S
from .batch import Batch, PayloadFault
from .cdr import HEADER_BYTES, CdrReader, ForeignEncoding, message_stamp_ns
from .decoder import Decoder, failure

DOUBLES = 37
BODY_BYTES = DOUBLES * 8
GYRO, ACCEL = slice(13, 16), slice(25, 28)
GYRO_COVARIANCE, ACCEL_COVARIANCE = 16, 28  # the first of each nine
NOT_MEASURED = -1.0
_LENGTH_AT = HEADER_BYTES + 8  # of frame_id, after the stamp
_STRING_AT = 12  # of frame_id's text, counted from the end of the CDR header
# Odd constants (golden ratio multiples) that tell the six columns apart in a fingerprint.
_MIX = (np.arange(1, 7, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


class ImuDecoder(Decoder):
    """Decoder of sensor_msgs/Imu. Rows are in SI units for every model, so they are made without a spec as well."""

    kind = "imu"
    msg_types = ("sensor_msgs/msg/Imu",)
    default_limits = {
        "max_accel_m_s2": 400.0,  # 40 g, more than a robot's own motion causes; shock sensors need more
        "max_gyro_rad_s": 100.0,  # 5700 deg/s, above the full scale of every common gyroscope
        "allow_zero": 0,  # 1 accepts exact zeros, for simulators and for drivers with a dead band
        "zero_run": 100,  # messages in a row with gyro or accel exactly 0 that mean that it is not measured
    }
    _zeros = 0  # such messages in a row so far

    def reset(self) -> None:
        """Forget how many messages in a row had an exactly zero vector."""
        self._zeros = 0

    def decode(self, messages: Sequence[Any], arrival_stamp_ns: Sequence[int] | np.ndarray | None = None) -> Batch:
        """See `Decoder`."""
        count = len(messages)
        stamp_ns, fault = np.zeros(count, np.int64), np.zeros(count, np.uint8)
        values = np.zeros((count, 6))  # float64: in float32 unequal payloads could get equal fingerprints
        covariance = np.zeros((count, 2))  # first of gyro's and of accel's
        error = ""
        one_by_one: Sequence[int] | np.ndarray = range(count)
        if count and set(map(type, messages)) == {bytes} and len(set(map(len, messages))) == 1:
            readable = _read_equal_lengths(messages, stamp_ns, values, covariance)
            one_by_one = () if readable.all() else np.flatnonzero(~readable)
        for i in one_by_one:
            try:
                stamp_ns[i], values[i], covariance[i] = self._read_one(messages[i])
            except Exception as problem:  # whatever a publisher sends must become a counted fault
                fault[i], error = failure(problem, self.msg_type)
        parsed = fault == PayloadFault.NONE
        if arrival_stamp_ns is not None:
            unstamped = parsed & ((stamp_ns == 0) | bool(self.limits["use_arrival_stamp"]))
            stamp_ns = np.where(unstamped, np.asarray(arrival_stamp_ns, np.int64), stamp_ns)
        fingerprint = np.where(parsed, _hash_rows(values), np.uint64(0))
        error = self._check(values, covariance, fault, parsed) or error
        good = fault == PayloadFault.NONE
        if good.all():
            return Batch(stamp_ns, fault, fingerprint, stamp_ns, values.astype(np.float32), error)
        return Batch(stamp_ns, fault, fingerprint, stamp_ns[good], values[good].astype(np.float32), error)

    def _read_one(self, message: Any) -> tuple[int, Any, Any]:
        if not isinstance(message, (bytes, bytearray, memoryview)):
            return _read_object(message)
        try:
            reader = CdrReader(message, self.msg_type)
        except ForeignEncoding:
            if self.deserialize is None:
                raise
            return _read_object(self.deserialize(bytes(message)))
        stamp_ns = reader.header()
        doubles = np.frombuffer(message, "<f8", DOUBLES, reader.take(BODY_BYTES, 8))
        if reader.left >= HEADER_BYTES:  # a serialised payload may be padded to a multiple of 4, but not by more
            raise DecodeError(
                self.msg_type,
                f"{reader.size} bytes",
                f"{reader.offset} for its frame_id",
                "the message is corrupt or of another type",
            )
        return stamp_ns, np.concatenate((doubles[GYRO], doubles[ACCEL])), doubles[[GYRO_COVARIANCE, ACCEL_COVARIANCE]]

    def _check(self, values: np.ndarray, covariance: np.ndarray, fault: np.ndarray, parsed: np.ndarray) -> str:
        """Write the faults of parsed rows (n, 6) into ``fault``; returns the text of the last, "" where all are good."""
        limits = self.limits
        size = np.abs(values)
        # One comparison passes a good batch, because NaN and inf fail it as well.
        fine = (size[:, :3] <= limits["max_gyro_rad_s"]).all(1) & (size[:, 3:] <= limits["max_accel_m_s2"]).all(1)
        fine &= (covariance != NOT_MEASURED).all(1)
        run = np.zeros(len(values), np.int64)
        if not limits["allow_zero"]:
            measured = values != 0  # NaN is no zero
            half: np.ndarray = ~np.logical_and(measured[:, :3].any(axis=1), measured[:, 3:].any(axis=1))
            if self._zeros or half.any():
                run = self._run_of(half)
                fine &= measured.any(axis=1) & (run < max(limits["zero_run"], 1))
        bad = np.flatnonzero(parsed & ~fine)
        if not len(bad):
            return ""
        worst = values[bad]
        most = np.repeat([limits["max_gyro_rad_s"], limits["max_accel_m_s2"]], 3)
        finite, inside = np.isfinite(worst).all(axis=1), (np.abs(worst) <= most).all(axis=1)
        fault[bad] = np.where(~finite, PayloadFault.NAN, np.where(inside, PayloadFault.EMPTY, PayloadFault.OUT_OF_RANGE))
        last = int(bad[-1])
        seen = "gyro [{:.4g} {:.4g} {:.4g}] rad/s, accel [{:.4g} {:.4g} {:.4g}] m/s^2".format(*values[last])
        expected, remedy = {
            PayloadFault.NAN: ("finite numbers", "check the driver"),
            PayloadFault.OUT_OF_RANGE: (
                f"at most {limits['max_gyro_rad_s']:g} rad/s and {limits['max_accel_m_s2']:g} m/s^2",
                "check the driver's units, or raise max_gyro_rad_s or max_accel_m_s2",
            ),
            PayloadFault.EMPTY: self._not_measured(values[last], covariance[last], int(run[last])),
        }[PayloadFault(int(fault[last]))]
        return str(DecodeError(self.msg_type, seen, expected, remedy))

    def _run_of(self, half: np.ndarray) -> np.ndarray:
        """For each message (n,), how many in a row up to it were ``half``; remembers the last."""
        index = np.arange(1, len(half) + 1)
        run: np.ndarray = index - np.maximum.accumulate(np.where(half, -self._zeros, index))
        self._zeros = int(run[-1])
        return run

    @staticmethod
    def _not_measured(values: np.ndarray, covariance: np.ndarray, run: int) -> tuple[str, str]:
        """What was expected of an EMPTY message, the last of ``run`` in a row with gyro or accel exactly 0; and the remedy."""
        if (covariance == NOT_MEASURED).any():
            name = "angular_velocity" if covariance[0] == NOT_MEASURED else "linear_acceleration"
            return f"both measured, but {name}_covariance[0] is -1", "use a topic with gyro and accel"
        if not (values != 0).any():  # NaN is no zero
            return "values that are not all exactly 0", "check the sensor, or set allow_zero"
        return (
            f"both measured, but in {run} messages in a row gyro or accel was exactly 0",
            "let the driver join the two, for example by unite_imu_method, or set allow_zero",
        )


def _read_equal_lengths(
    messages: Sequence[bytes], stamp_ns: np.ndarray, values: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Fill stamps (n,), values (n, 6) and first covariances (n, 2) from raw messages of equal length.

    Returns bool (n,), True where that was possible.
    """
    count, size = len(messages), len(messages[0])
    body = size - BODY_BYTES
    if body < HEADER_BYTES + _STRING_AT:
        return np.zeros(count, bool)
    data = b"".join(messages)

    def columns(offset: int, dtype: str, width: int) -> np.ndarray:
        itemsize = np.dtype(dtype).itemsize
        return np.ndarray((count, width), dtype, data, offset, (size, itemsize))

    # Only if the doubles begin where frame_id ends, aligned to 8, is this an Imu message as laid out above.
    text_bytes = columns(_LENGTH_AT, "<u4", 1)[:, 0].astype(np.int64)
    begins = HEADER_BYTES + (_STRING_AT + text_bytes + 7) // 8 * 8
    nanosecond = columns(HEADER_BYTES + 4, "<u4", 1)[:, 0]
    readable = (begins == body) & (columns(0, ">u2", 1)[:, 0] == 1) & (nanosecond < NS_PER_S)
    np.multiply(columns(HEADER_BYTES, "<i4", 1)[:, 0], NS_PER_S, out=stamp_ns, dtype=np.int64)
    stamp_ns += nanosecond
    values[:, :3] = columns(body + GYRO.start * 8, "<f8", 3)
    values[:, 3:] = columns(body + ACCEL.start * 8, "<f8", 3)
    covariance[:, :1] = columns(body + GYRO_COVARIANCE * 8, "<f8", 1)
    covariance[:, 1:] = columns(body + ACCEL_COVARIANCE * 8, "<f8", 1)
    if not readable.all():
        stamp_ns[~readable], values[~readable] = 0, 0.0
    return readable


def _read_object(message: Any) -> tuple[int, list[float], list[float]]:
    gyro, accel = message.angular_velocity, message.linear_acceleration
    covariance = [message.angular_velocity_covariance[0], message.linear_acceleration_covariance[0]]
    return message_stamp_ns(message), [gyro.x, gyro.y, gyro.z, accel.x, accel.y, accel.z], covariance


def _hash_rows(values: np.ndarray) -> np.ndarray:
    """(n, 6) float64 -> (n,) uint64, equal for equal rows."""
    bits = values.view(np.uint64)
    bits = (bits ^ (bits >> np.uint64(29))) * _MIX  # wraps
    return np.bitwise_xor.reduce(bits ^ (bits >> np.uint64(32)), axis=1)
