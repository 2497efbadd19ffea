"""The one door to this room: what the command line may ask of ROS. Importing it needs no ROS; calling it may.

Everything else in `nodes` is for the nodes themselves; test/test_rooms.py keeps other rooms out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..replay.fault_matrix import MatrixRun, MatrixTask, Stage
from ..replay.latest import Latest
from ..replay.power_cases import PowerCase, PowerRun
from ..replay.session import PlayedRun, TopicReplay
from .installation import RosInstallation, find_ros, require_ros

__all__ = ["RosInstallation", "find_ros", "play_matrix", "play_power", "replay_over_topics", "require_ros"]


def replay_over_topics(replay: TopicReplay, show: Callable[[Latest], None]) -> PlayedRun:
    """Start a fuse_node, play a recording into it and stop it (`replay_over_topics.replay_over_topics`).

    ``show`` is called about 8 times a second with the newest messages. Raises SentryFuseError.
    """
    from .replay_over_topics import replay_over_topics as replay_now

    return replay_now(replay, show)


def play_matrix(stage: Stage, task: MatrixTask, progress: Callable[[float], None]) -> MatrixRun:
    """Play the fault matrix into a fuse_node (`fault_bench.play_matrix`). Raises SentryFuseError."""
    from .fault_bench import play_matrix as play_now

    return play_now(stage, task, progress)


def play_power(stage: Stage, cases: Sequence[PowerCase], fuse_period_s: float, progress: Callable[[int], None]) -> PowerRun:
    """Send odd batteries and budgets to a fuse_node (`fault_bench.play_power`). Raises SentryFuseError."""
    from .fault_bench import play_power as play_now

    return play_now(stage, cases, fuse_period_s, progress)
