"""Play a recording into a fuse_node of its own process, over real topics, and return what it published."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.node import Node

from ..replay.session import PlayedRun, TopicReplay
from .collector import Collector, LatestMessages
from .node_process import NodeProcess, transport_environment
from .player import Player
from .result_recorder import record_result
from .ros_start import start_ros
from .spin import spinning
from .strangers import Strangers


def replay_over_topics(replay: TopicReplay, show: Callable[[LatestMessages], None]) -> PlayedRun:
    """Start fuse_node, play, stop it. ``show`` is called about 8 times a second with the newest messages.

    Sets the ROS domain of this process. Raises SentryFuseError if the node ends early or never becomes ready, or if another node
    on the domain publishes what this run publishes.
    """
    environment = transport_environment(replay.domain_id, large_messages=False)
    os.environ.update(transport_environment(replay.domain_id))  # of this process, which plays the recording
    fuser = NodeProcess("fuse_node", replay.node_arguments, environment, replay.log_path)
    try:
        with _replay_node() as node:
            if replay.result is not None:
                record_result(node, replay.result, replay.start_ns)
            published = replay.result.write if replay.result is not None else None
            player = Player(node, replay.sensors, replay.extra, replay.script, replay.start_ns, published=published)
            collector = Collector(node, replay.start_ns, held_up_s=lambda: player.held_up_s)
            strangers = Strangers(node, player.topics, replay.domain_id)

            def show_latest(t_s: float) -> None:
                fuser.check()
                strangers.check()
                collector.latest.t_s = t_s
                show(collector.latest)

            with spinning(node):
                player.wait_until_ready(fuser, lambda: collector.latest.info is not None)
                strangers.check()
                end_s = player.play(replay.stream, replay.speed, show_latest)
                end_wall_s = time.monotonic() - player.held_up_s
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
        captions=collector.captions,
        holes=player.holes,
        streams=collector.streams,
        end_wall_s=end_wall_s,
    )


@contextmanager
def _replay_node() -> Iterator[Node]:
    """A node of this process, while the block runs."""
    # Signals are the command's: rclpy would invalidate the context while messages are still being published.
    start_ros()
    node = rclpy.create_node("sentryfuse_replay", enable_rosout=False)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
