"""What is wrong with the parameter files of the command line, and what ROS 2 says nothing about: blocks that are all for other
nodes, and keys that come twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import ParameterError
from ..parameter_blocks import blocks, matches
from ..yaml_files import RepeatedKeyError, load_yaml


def warnings_on_files(arguments: Sequence[str], node: str) -> list[str]:
    """A warning for each `--params-file` without a block for ``node``, a full name such as `/bot/fuse_node`, or with a key that
    comes twice."""
    texts = []
    for path in _params_files(arguments):
        try:
            names = [name for name, _ in blocks(load_yaml(path, "parameter file"))]
        except RepeatedKeyError as error:
            texts.append(f"{error}; ROS 2 takes the last value of each parameter")
            continue
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


def _params_files(arguments: Sequence[str]) -> Iterator[str]:
    in_ros_arguments = False
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        if argument in ("--ros-args", "--"):
            in_ros_arguments = argument == "--ros-args"
        elif argument == "--params-file" and in_ros_arguments and following:
            yield following
