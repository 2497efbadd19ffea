"""What the ROS 2 of this machine offers. The rooms that must work without ROS ask here instead of importing rclpy."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import NamedTuple

from ..errors import SentryFuseError

RMW_REMEDY = "install it (apt install ros-$ROS_DISTRO-rmw-cyclonedds-cpp, for example), or unset RMW_IMPLEMENTATION"


class RosInstallation(NamedTuple):
    """The facts about rclpy that this package depends on."""

    rmw: str  # the middleware in use, e.g. rmw_fastrtps_cpp
    refusal: str  # why rclpy does not start with it, "" where it does
    has_events_executor: bool
    takes_serialized_messages: bool  # whether the receive path can take raw messages without callbacks


def find_ros() -> RosInstallation | None:
    """The ROS 2 of this environment, or None if there is no rclpy."""
    if importlib.util.find_spec("rclpy") is None:
        return None
    if refusal := rmw_refusal():
        return RosInstallation(os.environ["RMW_IMPLEMENTATION"], refusal, False, False)
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
    return RosInstallation(rmw, "", importlib.util.find_spec("rclpy.experimental") is not None, takes_serialized)


def rmw_refusal() -> str:
    """What rcl says of a middleware in RMW_IMPLEMENTATION that is not installed, "" where it has nothing to say.

    A process of its own asks, because rcl ends the process in which it finds no middleware.
    """
    if not os.environ.get("RMW_IMPLEMENTATION"):
        return ""
    asked = subprocess.run(
        [sys.executable, "-c", "import rclpy.impl.implementation_singleton as rclpy; rclpy.rclpy_implementation"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    lines = [line for line in asked.stderr.splitlines() if line.strip()]
    return "" if asked.returncode == 0 else (lines[0] if lines else f"exit status {asked.returncode}")


def require_ros(purpose: str) -> None:
    """Raises SentryFuseError if rclpy cannot be imported; ``purpose`` is the command that needs it."""
    if importlib.util.find_spec("rclpy") is not None and (refusal := rmw_refusal()):
        raise SentryFuseError(
            "RMW_IMPLEMENTATION",
            f"{os.environ['RMW_IMPLEMENTATION']!r} ({refusal})",
            "a middleware that is installed",
            RMW_REMEDY,
        )
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise SentryFuseError(
            purpose, f"no rclpy ({error})", "ROS 2 in this environment", "run make setup, or source your ROS 2"
        ) from error
