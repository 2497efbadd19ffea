"""The door from the command line to ROS: play a recording into a fuse_node of its own, and return what it published.

`replay_over_topics` is the one function of this room that other rooms call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from ..bags.bag import Topic
from ..replay.faults import FaultScript
from ..replay.judge import PredictionRow, StatusRow
from ..replay.run_record import ModelFacts, PowerRow
from ..replay.schedule import Delivery
from .collector import Collector, LatestMessages
from .node_process import NodeProcess, transport_environment
from .player import Player
from .spin import make_executor


@dataclass(frozen=True)
class TopicReplay:
    """What is played, and the fuse_node that hears it."""

    sensors: Mapping[str, Topic]  # by the sensor's name
    extra: Sequence[Topic]  # topics that are played as recorded, e.g. the battery
    stream: Iterator[Delivery]  # every message with its time, faults applied
    script: FaultScript  # its battery curve is published, unless it is empty
    start_ns: int  # recording time at t = 0
    speed: float  # 1 is real time
    node_arguments: Sequence[str]  # command line of fuse_node
    domain_id: int  # ROS domain of this run
    log_path: Path  # where fuse_node's output goes


@dataclass(frozen=True)
class PlayedRun:
    """What fuse_node published; times in seconds since the recording began."""

    predictions: list[PredictionRow]
    statuses: list[StatusRow]
    power: list[PowerRow]
    model: ModelFacts
    end_s: float  # seconds of the recording that were played
    exit_status: int  # of fuse_node
    last_words: str  # end of its log


def replay_over_topics(replay: TopicReplay, show: Callable[[LatestMessages], None]) -> PlayedRun:
    """Start fuse_node, play, stop it. ``show`` is called about 8 times a second with the newest messages.

    Sets the ROS domain of this process. Raises SentryFuseError if the node ends early or never becomes ready.
    """
    environment = transport_environment(replay.domain_id)
    os.environ.update(environment)
    fuser = NodeProcess("fuse_node", replay.node_arguments, environment, replay.log_path)
    try:
        with _replay_node() as node:
            collector = Collector(node, replay.start_ns)
            player = Player(node, replay.sensors, replay.extra, replay.script, replay.start_ns)

            def show_latest(t_s: float) -> None:
                fuser.check()
                collector.latest.t_s = t_s
                show(collector.latest)

            with _spinning(node):
                player.wait_until_ready(fuser, lambda: collector.latest.info is not None)
                end_s = player.play(replay.stream, replay.speed, show_latest)
                exit_status = fuser.stop()  # what it publishes until then is still collected
    finally:
        fuser.stop()
    return PlayedRun(
        predictions=collector.predictions,
        statuses=collector.statuses,
        power=collector.power,
        model=collector.model_facts(),
        end_s=end_s,
        exit_status=exit_status,
        last_words=fuser.last_words(),
    )


@contextmanager
def _replay_node() -> Iterator[Node]:
    """A node of this process, while the block runs."""
    rclpy.init()
    node = rclpy.create_node("sentryfuse_replay", enable_rosout=False)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


@contextmanager
def _spinning(node: Node) -> Iterator[None]:
    """Run the node's callbacks in a thread of their own, while the block runs."""
    executor = make_executor()
    executor.add_node(node)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set() and rclpy.ok():
            try:
                executor.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                return

    thread = threading.Thread(target=spin, name="collect", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2.0)
