"""The one door to this room: what the command line may ask of ROS. Importing it needs no ROS; calling it may.

Everything else in `nodes` is for the nodes themselves; test/test_rooms.py keeps other rooms out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ParameterError
from .installation import RMW_REMEDY, RosInstallation, find_ros, require_ros

if TYPE_CHECKING:  # sentryfuse doctor comes through here, also where numpy is what is missing
    from ..bags.bag import Topic
    from ..evaluation.node_cost import BenchTask, MemoryReport, NodeReport, ReceiveReport
    from ..replay.fault_matrix import MatrixRow, MatrixRun, MatrixTask, Stage
    from ..replay.latest import Latest
    from ..replay.power_cases import PowerCase, PowerRun
    from ..replay.session import PlayedRun, TopicReplay

__all__ = [
    "clock_scenarios",
    "live_scenarios",
    "RMW_REMEDY",
    "RosInstallation",
    "find_ros",
    "measure_memory",
    "measure_nodes",
    "measure_receiving",
    "play_matrix",
    "play_power",
    "replay_over_topics",
    "require_ros",
    "slow_inference",
    "types_not_installed",
]


def types_not_installed(msg_types: Iterable[str]) -> list[str]:
    """Those of the message types that this ROS 2 has no Python class of."""
    from .message_types import message_class

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


def measure_nodes(task: BenchTask, ratios: Sequence[float], before: Path | None, say: Callable[[str], None]) -> NodeReport:
    """CPU time and start of whole nodes by pruning ratio (`bench_node.measure_nodes`). Raises SentryFuseError."""
    require_ros("sentryfuse bench node")
    from .bench_node import measure_nodes as measure_now

    return measure_now(task, ratios, before, say)


def measure_memory(task: BenchTask, say: Callable[[str], None]) -> MemoryReport:
    """Memory of the whole node and of its plans (`bench_node.measure_memory`). Raises SentryFuseError."""
    require_ros("sentryfuse bench memory")
    from .bench_node import measure_memory as measure_now

    return measure_now(task, say)


def measure_receiving(task: BenchTask, say: Callable[[str], None]) -> ReceiveReport:
    """CPU time of the receive path against an ordinary node's (`bench_node.measure_receiving`). Raises SentryFuseError."""
    require_ros("sentryfuse bench receive")
    from .bench_node import measure_receiving as measure_now

    return measure_now(task, say)


def play_matrix(stage: Stage, task: MatrixTask, progress: Callable[[float], None]) -> MatrixRun:
    """Play the fault matrix into a fuse_node (`fault_bench.play_matrix`). Raises SentryFuseError."""
    from .fault_bench import play_matrix as play_now

    return play_now(stage, task, progress)


def play_power(stage: Stage, cases: Sequence[PowerCase], fuse_period_s: float, progress: Callable[[int], None]) -> PowerRun:
    """Send odd batteries and budgets to a fuse_node (`fault_bench.play_power`). Raises SentryFuseError."""
    from .fault_bench import play_power as play_now

    return play_now(stage, cases, fuse_period_s, progress)


def clock_scenarios(
    stage: Stage, topics: Mapping[str, Topic], samples: Mapping[str, Sequence[bytes]], period_s: float, say: Callable[[str], None]
) -> list[MatrixRow]:
    """Every way in which /clock may run (`clock_scenarios`). Raises SentryFuseError."""
    from .clock_scenarios import clock_scenarios as play_now

    return play_now(stage, topics, samples, period_s, say)


def live_scenarios(
    stage: Stage,
    topics: Mapping[str, Topic],
    samples: Mapping[str, Sequence[bytes]],
    model_inputs: Sequence[str],
    period_s: float,
    fuzzed: int,
    say: Callable[[str], None],
) -> list[MatrixRow]:
    """Restarts, masks, load, hostile messages (`fault_scenarios.live_scenarios`). Raises SentryFuseError."""
    from .fault_scenarios import live_scenarios as play_now

    return play_now(stage, topics, samples, model_inputs, period_s, fuzzed, say)


def slow_inference(
    stage: Stage, topics: Mapping[str, Topic], samples: Mapping[str, Sequence[bytes]], period_s: float, say: Callable[[str], None]
) -> MatrixRow:
    """A model that is too slow for its rate (`fault_scenarios.slow_inference`). Raises SentryFuseError."""
    from .fault_scenarios import slow_inference as play_now

    return play_now(stage, topics, samples, period_s, say)
