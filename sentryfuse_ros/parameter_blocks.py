"""The blocks of a ROS 2 parameter file, each of which is for the nodes whose full name its key matches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

PARAMETERS_KEY = "ros__parameters"


def matches(block: str, node: str) -> bool:
    """Whether a block is for a node with this full name. `*` stands for one part of a name and `**` for any number of them."""
    pattern = ""
    for part in block.strip("/").split("/"):
        pattern += {"**": "(/[^/]+)*", "*": "/[^/]+"}.get(part, "/" + re.escape(part))
    return re.fullmatch(pattern, node) is not None


def blocks(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and parameters of every block. It is `/bot/fuse_node` for `bot: fuse_node: ros__parameters:` as for
    `/bot/fuse_node: ros__parameters:`."""
    if not isinstance(tree, Mapping):
        return
    for key, value in tree.items():
        if key == PARAMETERS_KEY:
            yield prefix or "/", value
        else:
            yield from blocks(value, f"{prefix}/{str(key).strip('/')}")
