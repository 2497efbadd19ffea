"""Record what a fuse_node publishes into the result of a replay."""

from __future__ import annotations

from functools import partial

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from ..bags.header_stamps import stamp_of
from ..replay.result_bag import OWN_TOPICS, ResultBag
from .message_types import message_class

LATCHED = ("/fuse_node/pruning", "/fuse_node/model_info")


def record_result(node: Node, result: ResultBag, start_ns: int) -> None:
    """Subscribe ``node`` to the topics of fuse_node and write every message, at the time of its stamp."""

    def write(topic: str, raw: bytes) -> None:
        result.write(topic, max(stamp_of(raw), start_ns), raw)

    for topic, msg_type in OWN_TOPICS.items():
        durability = DurabilityPolicy.TRANSIENT_LOCAL if topic in LATCHED else DurabilityPolicy.VOLATILE
        # raw: the bytes go to the file as they are
        node.create_subscription(
            message_class(msg_type), topic, partial(write, topic), QoSProfile(depth=100, durability=durability), raw=True
        )
