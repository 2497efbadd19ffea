"""Times in integer nanoseconds, and their conversion from and to ROS stamps."""

from __future__ import annotations

NS_PER_S = 1_000_000_000


def stamp_to_ns(sec: int, nanosec: int) -> int:
    """The fields of a builtin_interfaces/Time as one number [ns]."""
    return int(sec) * NS_PER_S + int(nanosec)


def ns_to_stamp(stamp_ns: int) -> tuple[int, int]:
    """The inverse of `stamp_to_ns`: (sec, nanosec) with 0 <= nanosec < 1e9, for times before 1970 too."""
    sec, nanosec = divmod(int(stamp_ns), NS_PER_S)
    return sec, nanosec
