"""One parameter of the fuser: its default, its range, its meaning, and the check of a value. `parameters` lists them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from .errors import ParameterError


@dataclass(frozen=True)
class Parameter:
    """One parameter: its default, which also fixes its type, and what it means in whole sentences.

    ``low`` and ``high`` bound numbers, ``choices`` lists the strings that are allowed. A ``dynamic`` parameter may be changed
    while the node runs; the others are read when it is configured. A ``fixed`` one can only be given when the node starts.
    """

    name: str
    default: Any
    text: str
    low: float | None = None
    high: float | None = None
    choices: Collection[str] = ()
    dynamic: bool = False
    fixed: bool = False

    def check(self, value: Any, prefix: str = "") -> Any:
        """The value, converted to the type of the default.

        Raises ParameterError that names the parameter, the value and what is allowed.
        """
        name = prefix + self.name
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise ParameterError(f"parameter {name}", repr(value), "true or false")
            return value
        if isinstance(self.default, float):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ParameterError(f"parameter {name}", repr(value), "a number")
            return self._bounded(_as_float(value), name)
        if isinstance(self.default, int):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ParameterError(f"parameter {name}", repr(value), "a whole number")
            return self._bounded(value, name)
        if isinstance(self.default, tuple):
            item = type(self.default[0]) if self.default else str
            expected = "a list of " + ("numbers" if item is float else "texts")
            if isinstance(value, str) or not isinstance(value, Iterable):
                # ROS 2 gives no value for an empty list, because it has no type.
                raise ParameterError(f"parameter {name}", "nothing, or an empty list" if value is None else repr(value), expected)
            values = list(value)
            if any(isinstance(v, bool) or not isinstance(v, (int, float) if item is float else item) for v in values):
                raise ParameterError(f"parameter {name}", repr(values), expected)
            return tuple(self._bounded(_as_float(v), name) if item is float else item(v) for v in values)
        if isinstance(value, bool) and "off" in self.choices:
            value = "on" if value else "off"  # YAML 1.1 reads a bare on or off as true or false
        if not isinstance(value, str):
            raise ParameterError(f"parameter {name}", repr(value), "a text", "put quotes around it")
        if self.choices and value not in self.choices:
            raise ParameterError(f"parameter {name}", repr(value), "one of " + ", ".join(self.choices))
        return value

    def _bounded(self, value: Any, name: str) -> Any:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= value <= high:  # also false for NaN
            expected = f"a value from {low:g} to {high:g}" if math.isfinite(high - low) else "a number"
            raise ParameterError(f"parameter {name}", value, expected)
        return value


def _as_float(value: int | float) -> float:
    """The number as a float; infinity for a whole number that is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
