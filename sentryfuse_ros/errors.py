"""Errors that tell the user what to do: they name the thing, the value seen, the value expected and the remedy."""

from __future__ import annotations

from collections.abc import Sequence


class SentryFuseError(ValueError):
    """Base class of all errors that this package raises on purpose.

    The text is ``THING: saw SEEN, expected EXPECTED; REMEDY``, without the parts that are None.
    """

    def __init__(self, thing: str, seen: object = None, expected: object = None, remedy: str | None = None):
        self.thing, self.seen, self.expected, self.remedy = thing, seen, expected, remedy
        facts = []
        if seen is not None:
            facts.append(f"saw {seen}")
        if expected is not None:
            facts.append(f"expected {expected}")
        text = thing + (": " + ", ".join(facts) if facts else "")
        super().__init__(text + (f"; {remedy}" if remedy else ""))


class CheckpointError(SentryFuseError):
    """A checkpoint is missing or corrupt, or the engine cannot run it."""


class ParameterError(SentryFuseError):
    """A parameter or argument has a value that is not allowed."""


class SeveralParameterErrors(ParameterError):
    """More than one parameter has a value that is not allowed; ``errors`` has one error for each."""

    def __init__(self, errors: Sequence[SentryFuseError]):
        ValueError.__init__(self, f"{len(errors)} mistakes:" + "".join(f"\n  {error}" for error in errors))
        self.errors = tuple(errors)
        self.thing, self.seen, self.expected, self.remedy = "parameters", f"{len(errors)} mistakes", None, None


def raise_all(errors: Sequence[SentryFuseError]) -> None:
    """Raise nothing, the only error, or SeveralParameterErrors, by the number of ``errors``."""
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralParameterErrors(errors)


def reason_of(error: Exception) -> str:
    """What an error of Python or of the system says, without its number and its path, which our errors name already."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


class DecodeError(SentryFuseError):
    """A message cannot be decoded. Decoders count it as a fault, so this error never leaves them."""


class BagError(SentryFuseError):
    """A recording is missing or unreadable, or it lacks what was requested."""


class DataError(SentryFuseError):
    """A data set is missing, or its files are not as its loader expects them."""


class InstallationError(SentryFuseError):
    """Something that the command needs is not installed."""

    @classmethod
    def of(cls, error: ImportError) -> InstallationError:
        """The same error with its remedy. A file of this package is missing where the source is newer than the installation."""
        own = (error.name or "").partition(".")[0] == __name__.partition(".")[0]
        again = "install the package again: make setup, or colcon build"
        return cls(
            f"module {error.name}", str(error), "a module that can be imported", again if own else "sentryfuse doctor says how"
        )
