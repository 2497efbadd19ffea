"""Names of classes that are probably two spellings of one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from itertools import combinations

ALIKE = 0.8  # of difflib's ratio: "gravel" and "gravle" have 0.83, "wood" and "woods" 0.89, "sand" and "hand" 0.75
SHORTEST = 4  # shorter names differ by a letter on purpose: "on" and "one"


def look_alike(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ only by case, spaces or punctuation, or by a letter; numbers in names are meant."""
    found = []
    for one, other in combinations(classes, 2):
        a, b = (re.sub(r"[\W_]+", "", name.casefold()) for name in (one, other))
        if a != b and (min(len(a), len(b)) < SHORTEST or re.sub(r"\D", "", a) != re.sub(r"\D", "", b)):
            continue
        if a == b or difflib.SequenceMatcher(None, a, b).ratio() >= ALIKE:
            found.append((one, other))
    return found
