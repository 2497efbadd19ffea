"""The start of ROS in a process of this package, also where it has no home folder, as in a service of systemd."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args


def start_ros(args: Sequence[str] = ()) -> list[str]:
    """Initialise rclpy with these arguments of the command line, without its signal handlers; returns those that are not ROS's.

    If the log files have no folder, they go to one below the temporary folder, and a line on stderr says so. rclpy would raise
    instead. Raises what rclpy raises, for example for a malformed parameter file.
    """
    folder = log_folder(os.environ)
    if not _can_be_written(folder):
        spare = _spare_folder()
        seen = f"saw {folder}, which cannot be written" if folder else "saw none of ROS_LOG_DIR, ROS_HOME and HOME"
        print(f"log files of ROS 2: {seen}; they go to {spare}. Set ROS_LOG_DIR to another folder.", file=sys.stderr)
        os.environ["ROS_LOG_DIR"] = str(spare)
    known = [_utf8(text) for text in args]
    rclpy.init(args=known, signal_handler_options=SignalHandlerOptions.NO)
    return list(remove_ros_args(known))


def log_folder(environment: Mapping[str, str]) -> Path | None:
    """Where rcl_logging_interface has the log files written; None where no variable leads to a folder."""
    if chosen := environment.get("ROS_LOG_DIR"):
        folder = chosen
    else:
        folder = os.path.join(environment.get("ROS_HOME") or os.path.join("~", ".ros"), "log")
    if folder.startswith("~"):
        if not (home := environment.get("HOME")):  # rcl looks nowhere else, unlike os.path.expanduser
            return None
        folder = home + folder[1:]
    return Path(folder)


def _can_be_written(folder: Path | None) -> bool:
    """Make the folder; whether files can be written into it."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return folder is not None and os.access(folder, os.W_OK | os.X_OK)


def _spare_folder() -> Path:
    spare = Path(tempfile.gettempdir(), f"ros_log_{os.getuid()}")
    spare.mkdir(mode=0o700, exist_ok=True)
    # Anybody may write to the temporary folder, and a link or folder of somebody else's could lead the log files anywhere.
    return spare if spare.lstat().st_uid == os.getuid() else Path(tempfile.mkdtemp(prefix="ros_log_"))


def _utf8(text: str) -> str:
    """An argument as rclpy takes it: where the locale is not UTF-8, Python has kept its bytes in surrogates."""
    return os.fsencode(text).decode("utf-8", "surrogateescape")
