"""What is wrong with the parameter files of the command line, and what ROS 2 says nothing about: blocks that are all for other
nodes, and keys that come twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rclpy.context import Context

from ..errors import ParameterError
from ..parameter_blocks import blocks, matches
from ..settings import flatten, read_yaml
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
    """What keeps rcl from reading the `--params-file`s. Its own words name no line, no parameter or no remedy.

    A file that it reads has no mistakes, whatever PyYAML takes a value for: to rcl, 1e3 is a number, and a date a text.
    """
    texts = []
    for path in _params_files(arguments):
        if _rcl_reads(path):
            continue
        try:
            tree = load_yaml(path, "parameter file", "correct it, or give another --params-file")
            if tree is None:  # rcl accepts an empty file
                continue
            read_yaml(path)
        except ParameterError as error:
            texts.append(str(error))
            continue
        texts += [f"parameter file {path}: {error}" for _, block in blocks(tree) for error in _refused_values(block or {})]
    return texts


def _rcl_reads(path: str) -> bool:
    context = Context()
    try:
        # With a domain, so that a wrong ROS_DOMAIN_ID is not taken for a fault of the file.
        context.init(["", "--ros-args", "--params-file", path], initialize_logging=False, domain_id=0)
    except Exception:  # rclpy raises several kinds of errors here, and none of them names the reason
        return False
    context.shutdown()
    return True


def _refused_values(block: Mapping[str, Any]) -> Iterator[ParameterError]:
    """The values of a block that are none to rcl, whatever the parameter."""
    for name, value in flatten(block).items():
        thing = f"parameter {name}"
        if value is None:
            yield ParameterError(thing, "no value", "one", "write '' for an empty text, or leave the line out")
        elif isinstance(value, list):
            types = {type(item) for item in value}
            if types == {int, float}:
                yield ParameterError(thing, value, "only numbers with a decimal point, or only without", "write 10.0 for 10")
            elif len(types) > 1 or not types <= {bool, int, float, str}:
                yield ParameterError(thing, value, "a list of values of one type", "put quotes around each text")


def _params_files(arguments: Sequence[str]) -> Iterator[str]:
    in_ros_arguments = False
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        if argument in ("--ros-args", "--"):
            in_ros_arguments = argument == "--ros-args"
        elif argument == "--params-file" and in_ros_arguments and following:
            yield following
