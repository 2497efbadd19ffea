"""Notice other nodes that disturb a replay: its results would be theirs, or its sensors would be mixed with theirs."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node

from ..errors import SentryFuseError

FUSER_TOPICS = ("/fuse_node/prediction", "/fuse_node/mask", "/fuse_node/pruning", "/fuse_node/model_info")


class Strangers:
    """Watches that each topic of a replay has one publisher. Other subscribers do no harm and are welcome."""

    def __init__(self, node: Node, published: Sequence[str], domain_id: int, fuser_topics: Sequence[str] = FUSER_TOPICS):
        self._node, self._domain_id = node, domain_id
        self._topics = (*published, *fuser_topics)

    def check(self) -> None:
        """Raises SentryFuseError naming the topic and its publishers if somebody else publishes one of the topics."""
        for topic in self._topics:
            if self._node.count_publishers(topic) <= 1:
                continue
            names = sorted(
                f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in self._node.get_publishers_info_by_topic(topic)
            )
            raise SentryFuseError(
                f"replay on ROS domain {self._domain_id}",
                f"{len(names)} publishers of {topic}: {', '.join(names)}",
                "no other publisher of what the replay and its fuse_node publish",
                "stop the other node, or give --domain-id a domain of its own",
            )
