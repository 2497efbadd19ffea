"""Parameter files of the command line whose blocks are all for other nodes: ROS ignores them without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import ParameterError
from ..yaml_files import load_yaml


def warnings_on_files(arguments: Sequence[str], node: str) -> list[str]:
    """A warning for each `--params-file` without a block for ``node``, a full name such as `/bot/fuse_node`."""
    texts = []
    for path in _params_files(arguments):
        try:
            names = list(_block_names(load_yaml(path, "parameter file")))
        except ParameterError:
            continue  # rcl has read it already, and has its own words for what it cannot read
        if not any(matches(name, node) for name in names):
            found = ", ".join(names) or "none"
            texts.append(
                f"parameter file {path} has no block for this node, so nothing in it is in force: saw {found}, expected {node} "
                f"or /**; rename the block, or start the node with that name and namespace"
            )
    return texts


def mistakes_in_files(arguments: Sequence[str]) -> list[str]:
    """Why a `--params-file` cannot be read, for each of which that is so. rcl says so without the line."""
    texts = []
    for path in _params_files(arguments):
        try:
            load_yaml(path, "parameter file", "correct it, or give another --params-file")
        except ParameterError as error:
            texts.append(str(error))
    return texts


def matches(block: str, node: str) -> bool:
    """Whether the block of a parameter file is for a node. `*` stands for one part of a name and `**` for any number of them."""
    pattern = ""
    for part in block.strip("/").split("/"):
        pattern += {"**": "(/[^/]+)*", "*": "/[^/]+"}.get(part, "/" + re.escape(part))
    return re.fullmatch(pattern, node) is not None


def _params_files(arguments: Sequence[str]) -> Iterator[str]:
    in_ros_arguments = False
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        if argument in ("--ros-args", "--"):
            in_ros_arguments = argument == "--ros-args"
        elif argument == "--params-file" and in_ros_arguments and following:
            yield following


def _block_names(tree: Any, prefix: str = "") -> Iterator[str]:
    """`/bot/fuse_node` for a block at `bot: fuse_node: ros__parameters:`, and also at `/bot/fuse_node: ros__parameters:`."""
    if not isinstance(tree, Mapping):
        return
    for key, value in tree.items():
        if key == "ros__parameters":
            yield prefix or "/"
        else:
            yield from _block_names(value, f"{prefix}/{str(key).strip('/')}")
