"""Time in integer nanoseconds, as ROS stamps count it."""

from __future__ import annotations

NS_PER_S = 1_000_000_000


def stamp_to_ns(sec: int, nanosec: int) -> int:
    """The two fields of builtin_interfaces/Time as one number [ns]."""
    return int(sec) * NS_PER_S + int(nanosec)


def ns_to_stamp(stamp_ns: int) -> tuple[int, int]:
    """Inverse of `stamp_to_ns`: (sec, nanosec) with 0 <= nanosec < 1e9, also before 1970."""
    sec, nanosec = divmod(int(stamp_ns), NS_PER_S)
    return sec, nanosec
