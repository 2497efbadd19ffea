"""One checker for every record that a person writes by hand: recipes, model configurations, modality specs.

A record is a frozen dataclass. The annotation of a field is its rule: the type, and with `Annotated[type, Rule(...)]` the range
or the choices. Every refusal names the key, the value seen, the values expected and the remedy.

pydantic was considered and left out: importing it costs a robot 0.1 s of start time and 20 MiB of memory (version 2.14, measured
on x86-64), and its error texts name no remedy. The records here need seven kinds of annotation, which fit on one page, so another
pinned dependency with a compiled part would cost more than it saves.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ParameterError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


class Rule(NamedTuple):
    """What a value must satisfy beyond its type, and how an error says so."""

    holds: Callable[[Any], bool]
    expected: str


def one_of(choices: Collection[str]) -> Rule:
    """The value is one of these names."""
    return Rule(lambda value: value in choices, "one of " + ", ".join(choices))


class FormerName(NamedTuple):
    """What a key was called before. `build` still reads it, so that older recipes and checkpoints stay readable."""

    name: str


# Marks a field that its record checks itself, because the rule depends on other fields.
CHECKED_BY_RECORD = Rule(lambda value: True, "")

Count = Annotated[int, Rule(lambda v: v >= 1, "a whole number of 1 or more")]
Positive = Annotated[float, Rule(lambda v: v > 0, "a number above 0")]
NotNegative = Annotated[float, Rule(lambda v: v >= 0, "0 or more")]
Share = Annotated[float, Rule(lambda v: 0 <= v <= 1, "0 to 1")]
ShareBelowOne = Annotated[float, Rule(lambda v: 0 <= v < 1, "0 to 1, 1 excluded")]
Seed = Annotated[int, Rule(lambda v: 0 <= v < 2**32, f"0 to {2**32 - 1}")]  # what numpy and torch take
ShareAboveZero = Annotated[float, Rule(lambda v: 0 < v <= 1, "above 0, at most 1")]


def build(kind: type[Record], values: object, what: str, remedy: str) -> Record:
    """The record ``kind`` from a mapping, as YAML and JSON give one; ``what`` is how an error names the record.

    Raises ParameterError on an unknown key (with the nearest known one), a missing key, or a value that its field cannot have.
    """
    known, hints = {f.name: f for f in fields(kind)}, _annotations(kind)
    if not isinstance(values, Mapping):
        raise ParameterError(f"{what} keys", type(values).__name__, "a mapping with keys among " + ", ".join(known), remedy)
    former = {rule.name: key for key, hint in hints.items() for rule in get_args(hint)[1:] if isinstance(rule, FormerName)}
    values = under_present_names(values, former)
    if unknown := [str(key) for key in values if key not in known]:
        near = [match for key in unknown for match in difflib.get_close_matches(key, known, 1)]
        meant = f" (perhaps {', '.join(map(repr, near))})" if near else ""
        raise ParameterError(f"{what} keys", ", ".join(map(repr, unknown)), "keys among " + ", ".join(known) + meant, remedy)
    missing = [n for n, f in known.items() if n not in values and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise ParameterError(f"{what} keys", "no " + ", ".join(map(repr, missing)), "every key that has no default", remedy)
    return kind(**{name: convert(value, hints[name], f"{what} {name}", remedy) for name, value in values.items()})


def under_present_names(values: Mapping[Any, Any], former: Mapping[str, str]) -> dict[Any, Any]:
    """The values with every key of ``former`` renamed to what it is called now, unless that name is among the keys as well."""
    return {key if (now := former.get(key, key)) in values else now: value for key, value in values.items()}


def check(record: DataclassInstance, what: str, remedy: str) -> None:
    """Hold a dataclass, in its ``__post_init__``, against its annotations: lists become tuples, mappings become records.

    Raises ParameterError on the first field that has a value it cannot have.
    """
    for name, hint in _annotations(type(record)).items():
        object.__setattr__(record, name, convert(getattr(record, name), hint, f"{what} {name}", remedy))


@cache
def _annotations(kind: type) -> dict[str, Any]:
    """Annotation by field; resolving the text of one takes longer than checking a whole record."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in fields(kind)}


def convert(value: Any, hint: Any, what: str, remedy: str) -> Any:
    """The value as an annotation has it; raises ParameterError where it cannot be.

    Annotations: bool, int, float, str, a dataclass, Mapping[str, ...], tuple[..., ...] or of fixed length, unions of these, Any,
    each also Annotated with rules. A float may stand in text, since YAML 1.1 reads 1e-3, without a point, as text.
    """
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *rules = get_args(hint)
        if CHECKED_BY_RECORD in rules:
            return value
        value = convert(value, inner, what, remedy)
        for rule in (r for r in rules if isinstance(r, Rule)):
            if not rule.holds(value):
                raise ParameterError(what, _shown(value), rule.expected, remedy)
        return value
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, get_args(hint), what, remedy)
    if origin is tuple:
        return _convert_tuple(value, get_args(hint), what, remedy)
    if origin is not None and issubclass(origin, Mapping):
        return _convert_mapping(value, get_args(hint)[1], what, remedy)
    if is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else build(hint, {} if value is None else value, what, remedy)
    if hint is float:
        return _convert_float(value, what, remedy)
    accepted, expected = _PLAIN[hint]
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ParameterError(what, repr(value), expected, remedy)
    return value


_PLAIN: dict[Any, tuple[type, str]] = {
    int: (int, "a whole number"),
    str: (str, "text (YAML reads yes, off, 12 and 2024-05-03 as text only in quotes)"),
    bool: (bool, "true or false"),
    type(None): (type(None), "nothing"),
}


def _convert_float(value: Any, what: str, remedy: str) -> int | float:
    """A finite number, also one in text. Whole numbers stay whole: a saved training run compares its recipe as JSON."""
    try:
        number = float(value) if isinstance(value, str) else value
        if isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number):
            return number
    except (ValueError, OverflowError):
        pass
    raise ParameterError(what, repr(value), "a finite number", remedy)


def _convert_tuple(value: Any, parts: tuple[Any, ...], what: str, remedy: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ParameterError(what, repr(value), "a list", remedy)
    if parts[-1] is Ellipsis:
        parts = (parts[0],) * len(value)
    elif len(parts) != len(value):
        raise ParameterError(what, repr(value), f"{len(parts)} values", remedy)
    return tuple(convert(v, part, f"{what}[{i}]", remedy) for i, (v, part) in enumerate(zip(value, parts)))


def _convert_mapping(value: Any, part: Any, what: str, remedy: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ParameterError(what, repr(value), "a mapping of keys to values", remedy)
    return {name: convert(v, part, f"{what} {name}", remedy) for name, v in value.items()}


def _convert_union(value: Any, parts: tuple[Any, ...], what: str, remedy: str) -> Any:
    """By the first part that takes the value; where none does, the error says what each of them expects."""
    if value is None and type(None) in parts:
        return None
    expected = []
    for part in parts:
        try:
            return convert(value, part, what, remedy)
        except ParameterError as error:
            if error.thing != what:  # the value is of this part's kind, but something inside it is wrong
                raise
            expected.append(str(error.expected))
    raise ParameterError(what, repr(value), " or ".join(expected), remedy)


def _shown(value: Any) -> Any:
    return repr(value) if isinstance(value, str) else value
