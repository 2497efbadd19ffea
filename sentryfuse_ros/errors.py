"""Errors that say what to do: the thing, the value seen, the value expected, the remedy."""

from __future__ import annotations

from typing import Any


class SentryFuseError(ValueError):
    """Base of all errors this package raises on purpose.

    Text: ``THING: saw SEEN, expected EXPECTED; REMEDY`` with absent parts left out.
    """

    def __init__(self, thing: str, seen: Any = None, expected: Any = None, remedy: str | None = None):
        self.thing, self.seen, self.expected, self.remedy = thing, seen, expected, remedy
        facts = []
        if seen is not None:
            facts.append(f"saw {seen}")
        if expected is not None:
            facts.append(f"expected {expected}")
        text = thing + (": " + ", ".join(facts) if facts else "")
        super().__init__(text + (f"; {remedy}" if remedy else ""))


class CheckpointError(SentryFuseError):
    """A model file is missing, corrupt, or not what the engine can run."""


class ParameterError(SentryFuseError):
    """A parameter has a value it cannot have."""


class DecodeError(SentryFuseError):
    """A message cannot be read; decoders turn it into a counted fault, it never leaves them."""


class BagError(SentryFuseError):
    """A recording is missing, unreadable, or lacks what was asked of it."""


class DataError(SentryFuseError):
    """A data set is missing or not in the shape its loader knows."""
