"""Paths to the numbers in a message: `twist.twist.linear.x`, `effort[0:4]`, `wrench.force.*`, `motors[0:2].current`.

A path names fields, joined by dots. Behind a field that is an array stands the element, `[3]`, or the range of elements,
`[0:4]`, that is wanted; the end of the range is not part of it, as in Python, and a start of 0 may be left out. An array of a
fixed size may be taken whole: `covariance`. A `*` at the end stands for all numbers of a message, in the order of its
definition. Every path gives the same number of values for each message, which makes the channels of a model input.

`parse` reads the text alone; `select` follows the paths through the definition of a message type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from ..errors import ParameterError
from .message_definition import Array, FieldType, Message, Number, Text

ALL = "*"
MAX_CHANNELS = 4096  # of one sensor; more is no series but an image, or a typing error
_SEGMENT = re.compile(r"([A-Za-z]\w*)(?:\[(\d*)(:?)(\d*)\])?")
_EXAMPLES = "a path such as twist.twist.linear.x, effort[0:4] or wrench.force.*"


@dataclass(frozen=True)
class Elements:
    """Elements of an array from ``start`` on, without ``stop``. A ``stop`` of None is the end of an array of fixed size."""

    start: int
    stop: int | None
    single: bool = False

    def __str__(self) -> str:
        return f"[{self.start}]" if self.single else f"[{self.start}:{'' if self.stop is None else self.stop}]"


Step = str | Elements  # into a field of that name, or to elements of an array


@dataclass(frozen=True)
class FieldPath:
    """The steps of a path; the last name may be `*`."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        text = "".join(str(step) if isinstance(step, Elements) else f".{step}" for step in self.steps)
        return text.removeprefix(".")


@dataclass(frozen=True)
class Selection:
    """Numbers that one path selects: the steps that lead there, and how many they are.

    ``path`` is the text to show; ``steps`` has no `*` and no open range any more.
    """

    path: str
    steps: tuple[Step, ...]

    @property
    def width(self) -> int:
        """Number of values."""
        return width_of(self.steps)

    def value_names(self) -> list[str]:
        """The path of every single value, in the order of the values."""
        names = [""]
        for step in self.steps:
            if isinstance(step, Elements):
                names = [f"{name}[{i}]" for name in names for i in range(step.start, step.stop or 0)]
            else:
                names = [f"{name}.{step}" for name in names]
        return [name.removeprefix(".") for name in names]


def width_of(steps: Sequence[Step]) -> int:
    """Number of values that the rest of a path selects."""
    return prod((step.stop or 0) - step.start for step in steps if isinstance(step, Elements))


def parse(text: str) -> FieldPath:
    """The path that a text means. Raises ParameterError where it means none."""
    steps: list[Step] = []
    segments = text.strip().removeprefix("/").split(".")
    for i, segment in enumerate(segments):
        if segment == ALL and i == len(segments) - 1 and i:
            steps.append(ALL)
            continue
        found = _SEGMENT.fullmatch(segment)
        if found is None:
            raise ParameterError(f"field {text!r}", repr(segment), _EXAMPLES)
        name, start, colon, stop = found.groups()
        steps.append(name)
        if start is None:
            continue
        if not colon:
            if not start:
                raise ParameterError(f"field {text!r}", repr(segment), "an element or a range of elements, [3] or [0:4]")
            steps.append(Elements(int(start), int(start) + 1, single=True))
            continue
        elements = Elements(int(start or 0), int(stop) if stop else None)
        if elements.stop is not None and elements.stop <= elements.start:
            raise ParameterError(f"field {text!r}", repr(segment), "a range whose end is greater than its start")
        steps.append(elements)
    return FieldPath(tuple(steps))


def select(paths: Sequence[str], definition: Message) -> tuple[Selection, ...]:
    """What the paths select in messages of a type, in their order; a `*` gives one selection for each number.

    Raises ParameterError, with the fields that there are, for a path that leads nowhere or to something that is no number.
    """
    found = [selection for text in paths for selection in _follow(text, parse(text), definition)]
    width = sum(selection.width for selection in found)
    if width > MAX_CHANNELS:
        raise ParameterError(f"fields of {definition.name}", f"{width} values", f"at most {MAX_CHANNELS} values of one message")
    return tuple(found)


def fields_text(message: Message) -> str:
    """The fields of a message type with their types, for error texts."""
    return ", ".join(f"{name} ({kind.describe()})" for name, kind in message.fields.items())


def _follow(text: str, path: FieldPath, definition: Message) -> Iterator[Selection]:
    here: FieldType = definition
    done: list[Step] = []

    def wrong(seen: str, expected: str) -> ParameterError:
        return ParameterError(f"field {text!r} of {definition.name}", seen, expected, "correct the sensor's parameter fields")

    for step in path.steps:
        so_far = str(FieldPath(tuple(done)))
        if isinstance(step, Elements):
            if not isinstance(here, Array):
                raise wrong(f"{so_far}, which is {here.describe()} and no array", f"{so_far} without {step}")
            stop = step.stop if step.stop is not None else here.size
            if stop is None:
                raise wrong(f"{step} of an array without a fixed size", f"a range with an end, such as [{step.start}:4]")
            if here.size is not None and stop > here.size or stop <= step.start:
                raise wrong(f"{so_far}{step}", f"elements of {here.describe()}")
            done.append(Elements(step.start, stop, step.single))
            here = here.item
            continue
        if isinstance(here, Array):
            raise wrong(f"{so_far}, which is an array", f"the element or range that is wanted: {so_far}[0]")
        if not isinstance(here, Message):
            raise wrong(f"{so_far}, which is {here.describe()}", f"{so_far} without .{step}")
        if step == ALL:
            numbers = [name for name, kind in here.fields.items() if isinstance(kind, Number)]
            if not numbers:
                raise wrong(f"{here.name} without numbers", f"one of {fields_text(here)}")
            for name in numbers:
                steps = (*done, name)
                yield Selection(str(FieldPath(steps)), steps)
            return
        if step not in here.fields:
            raise wrong(f"no {step} in {here.name}", f"one of {fields_text(here)}")
        here = here.fields[step]
        done.append(step)
    shown = str(FieldPath(tuple(done)))
    if isinstance(here, Array) and isinstance(here.item, Number):
        if here.size is None:
            raise wrong(f"{shown}, an array whose size is not fixed", f"the range that is wanted: {shown}[0:4]")
        done.append(Elements(0, here.size))
        here = here.item
    if isinstance(here, Message):
        raise wrong(f"{shown}, which is {here.name}", f"one of its fields: {fields_text(here)}")
    if isinstance(here, Text | Array):
        raise wrong(f"{shown}, which is {here.describe()}", "a number")
    yield Selection(str(FieldPath(tuple(done))), tuple(done))
