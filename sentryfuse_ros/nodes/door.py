"""The one door to this room: what the command line may ask of ROS. Importing it needs no ROS; calling it may.

Everything else in `nodes` is for the nodes themselves; test/test_rooms.py keeps other rooms out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import ParameterError
from ..replay.latest import Latest
from ..replay.session import PlayedRun, TopicReplay
from .installation import RosInstallation, find_ros, require_ros

__all__ = ["RosInstallation", "find_ros", "replay_over_topics", "require_ros", "types_not_installed"]


def types_not_installed(msg_types: Iterable[str]) -> list[str]:
    """Those of the message types that this ROS 2 has no Python class of."""
    from .receive import message_class

    absent = []
    for msg_type in dict.fromkeys(msg_types):
        try:
            message_class(msg_type)
        except ParameterError:
            absent.append(msg_type)
    return absent


def replay_over_topics(replay: TopicReplay, show: Callable[[Latest], None]) -> PlayedRun:
    """Start a fuse_node, play a recording into it and stop it (`replay_over_topics.replay_over_topics`).

    ``show`` is called about 8 times a second with the newest messages. Raises SentryFuseError.
    """
    from .replay_over_topics import replay_over_topics as replay_now

    return replay_now(replay, show)
