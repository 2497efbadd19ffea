"""Match the messages of three sensors by stamp, and keep matching when one of them dies.

    python examples/message_filter.py

Where message_filters is installed, its SimpleFilter is the source; elsewhere it is the class below. In a node the sources are
``message_filters.Subscriber(node, Image, "camera/image_raw")`` and so on, and nothing else changes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sentryfuse_ros.sensing.snapshot_synchronizer import SnapshotSynchronizer


class StandInFilter:
    """A source with the two methods of message_filters.SimpleFilter, for machines without ROS."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[Any, tuple[Any, ...]]] = []

    def registerCallback(self, cb: Any, *args: Any) -> None:
        self.callbacks.append((cb, args))

    def signalMessage(self, message: Any) -> None:
        for cb, args in self.callbacks:
            cb(message, *args)


try:
    from message_filters import SimpleFilter as Source
except ImportError:
    Source = StandInFilter


def message(text: str, stamp_ms: int) -> SimpleNamespace:
    """Anything with a header stamp is a message."""
    stamp = SimpleNamespace(sec=stamp_ms // 1000, nanosec=stamp_ms % 1000 * 1_000_000)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), text=f"{text} {stamp_ms} ms")


def show(*matched: SimpleNamespace | None) -> None:
    print(" | ".join(m.text if m else "silent" for m in matched))


def main() -> None:
    camera, imu, lidar = Source(), Source(), Source()
    synchronizer = SnapshotSynchronizer([camera, imu, lidar], queue_size=50, slop_s=0.02, timeout_s=0.3)
    synchronizer.registerCallback(show)
    for stamp_ms in range(0, 1500, 100):
        camera.signalMessage(message("image", stamp_ms))
        imu.signalMessage(message("imu", stamp_ms + 3))
        if stamp_ms < 500:  # then the LiDAR dies
            lidar.signalMessage(message("cloud", stamp_ms + 8))
    print(f"{synchronizer.dropped} messages found no partner")


if __name__ == "__main__":
    main()
