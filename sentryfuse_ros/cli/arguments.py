"""Arguments that several verbs have."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ..errors import ParameterError


def add_params(parser: argparse.ArgumentParser, meaning: str = "parameter file of fuse_node (default: config/fuse.yaml)") -> None:
    """Declare ``--params``, which becomes ``params_file``: the path, None where it is not given."""
    parser.add_argument("--params", "--params-file", dest="params_file", type=Path, metavar="FILE", help=meaning)


def add_map(parser: argparse.ArgumentParser) -> None:
    """Declare ``--map``, which `topics_of` reads."""
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="SENSOR:=TOPIC",
        help="which topic of the recording serves a sensor; may be repeated (default: matched by name, then by type)",
    )


def topics_of(entries: Sequence[str], sensors: Collection[str] | None = None) -> dict[str, str]:
    """The ``--map`` arguments as sensor -> topic. Raises ParameterError, also for a sensor that is not among ``sensors``."""
    topics = {}
    for entry in entries:
        sensor, mark, topic = entry.partition(":=")
        if not mark or not topic:
            raise ParameterError("--map", entry, "SENSOR:=TOPIC")
        if sensors is not None and sensor not in sensors:
            raise ParameterError("--map", f"sensor {sensor}", "one of " + ", ".join(sensors))
        topics[sensor] = topic
    return topics


def at_least_one(text: str) -> int:
    """The type of an argument that is a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"saw {number}, expected 1 or more")
    return number


def refuse_beside(other: str, options: Mapping[str, object]) -> None:
    """Raises ParameterError for the first of ``options`` that was given, because ``other`` would silently leave it out.

    options: value by option; None, False and an empty list stand for one that was not given.
    """
    for option, value in options.items():
        if value is not None and value is not False and value != []:
            raise ParameterError(
                option, f"it beside {other}", f"none, because {other} makes no use of it", "leave one of them out"
            )


def refuse_several_processes(verb: str) -> None:
    """Raises ParameterError where torchrun has started the verb several times: each would do all the work, to the same files."""
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1":
        raise ParameterError(
            f"sentryfuse {verb}",
            f"one of {count} processes (environment variable WORLD_SIZE, which torchrun sets)",
            "one process",
            "start it without torchrun; only sentryfuse train divides its work among processes",
        )
