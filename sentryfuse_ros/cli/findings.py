"""What `sentryfuse doctor` finds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import NamedTuple

OK, NOTE, BAD = "ok", "note", "BAD"


class Finding(NamedTuple):
    """One line of the answer; ``remedy`` is empty where there is nothing to do."""

    level: str  # "ok", "note" (works, but something is lost) or "BAD" (does not work)
    what: str
    found: str
    remedy: str = ""


def version(distribution: str, module: str | None = None) -> str | None:
    """Version of the distribution of an installed module, "installed" for a module without one, None for neither."""
    if importlib.util.find_spec(module or distribution) is None:
        return None
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "installed"
