"""What the ROS 2 of this machine offers. The rooms that must work without ROS ask here instead of importing rclpy."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from ..errors import SentryFuseError


class RosInstallation(NamedTuple):
    """The facts about rclpy that this package depends on."""

    rmw: str  # the middleware in use, e.g. rmw_fastrtps_cpp
    has_events_executor: bool
    takes_serialized_messages: bool  # whether the receive path can take raw messages without callbacks


def find_ros() -> RosInstallation | None:
    """The ROS 2 of this environment, or None if there is no rclpy."""
    if importlib.util.find_spec("rclpy") is None:
        return None
    try:
        from rclpy.utilities import get_rmw_implementation_identifier

        rmw = get_rmw_implementation_identifier()
    except (ImportError, RuntimeError) as error:
        rmw = f"unknown ({error})"
    try:
        from rclpy.impl.implementation_singleton import rclpy_implementation

        takes_serialized = hasattr(rclpy_implementation.Subscription, "take_message")
    except (ImportError, AttributeError):
        takes_serialized = False
    return RosInstallation(rmw, importlib.util.find_spec("rclpy.experimental") is not None, takes_serialized)


def require_ros(purpose: str) -> None:
    """Raises SentryFuseError if rclpy cannot be imported; ``purpose`` is the command that needs it."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise SentryFuseError(
            purpose, f"no rclpy ({error})", "ROS 2 in this environment", "run make setup, or source your ROS 2"
        ) from error
