"""Which recordings are trained, validated and tested on, and which stay together because they are of one person or place."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DataError, ParameterError, reason_of
from .description import BagDescription

DEFAULT_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
BAG_COLUMN = "bag"
NAMES_SHOWN = 3


def origins_of(names: Sequence[str], group_by: str) -> dict[str, str]:
    """The origin (person, place or day) of every recording, by its name; {} if ``group_by`` is empty.

    ``group_by`` is a regular expression, whose first group (or whole match) in the name is the origin, or FILE.csv:COLUMN, a
    table with the columns bag and COLUMN. Raises ParameterError or DataError if it gives a recording no origin.
    """
    if not group_by:
        return {}
    file, _, column = group_by.rpartition(":")
    found = _origins_in_table(Path(file), column) if file.endswith(".csv") else _origins_in_names(names, group_by)
    lacking = [name for name in names if not found.get(name)]
    if lacking:
        more = f" and {len(lacking) - NAMES_SHOWN} more" if len(lacking) > NAMES_SHOWN else ""
        raise DataError(
            f"--group-by {group_by}",
            "no origin of " + ", ".join(lacking[:NAMES_SHOWN]) + more,
            "one of every recording",
            "correct the expression or the table",
        )
    return {name: found[name] for name in names}


def _origins_in_names(names: Iterable[str], pattern: str) -> dict[str, str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ParameterError(
            "--group-by", repr(pattern), f"a regular expression or FILE.csv:COLUMN ({error})", "for example 'subject\\d+'"
        ) from error
    matches = {name: match for name in names if (match := expression.search(name))}
    return {name: (match[1] if expression.groups else match[0]) or "" for name, match in matches.items()}


def _origins_in_table(path: Path, column: str) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if not {BAG_COLUMN, column} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"origins file {path}", f"columns {reader.fieldnames}", f"{BAG_COLUMN} and {column}", "correct --group-by"
                )
            return {(row[BAG_COLUMN] or "").strip(): (row[column] or "").strip() for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"origins file {path}", reason_of(error), "a readable CSV file") from error


def assign_splits(bags: Sequence[BagDescription], shares: Mapping[str, float], seed: int) -> list[BagDescription]:
    """Give every recording without a split one, so that each split gets its share of the windows; only their proportions count.

    The recordings of one origin are kept together: in the split that one of them names, otherwise in one that is drawn.
    Recordings without an origin are drawn one by one.
    """
    named = {bag.origin: bag.split for bag in reversed(bags) if bag.origin and bag.split}
    out = [replace(bag, split=named[bag.origin]) if not bag.split and bag.origin in named else bag for bag in bags]
    units: dict[str, list[int]] = {}
    for i, bag in enumerate(out):
        if not bag.split:
            units.setdefault(f"origin {bag.origin}" if bag.origin else f"bag {i}", []).append(i)
    free = list(units.values())
    np.random.default_rng(seed).shuffle(free)
    names = [name for name in shares if shares[name] > 0]
    windows_per_share = sum(out[i].windows for unit in free for i in unit) / sum(shares.values())
    have = dict.fromkeys(names, 0.0)
    for done, unit in enumerate(free):
        # If there are only just enough left, each empty split gets one; otherwise the split that is furthest below its share.
        empty = [name for name in names if not have[name]]
        candidates = empty if empty and len(free) - done <= len(empty) else names
        split = max(candidates, key=lambda name: shares[name] * windows_per_share - have[name])
        for i in unit:
            out[i] = replace(out[i], split=split)
            have[split] += out[i].windows
    return out


def origins_apart(bags: Sequence[BagDescription]) -> list[str]:
    """A remark on every origin whose recordings are in several splits, which makes results look better than they are."""
    splits: dict[str, list[str]] = {}
    for bag in bags:
        if bag.origin and bag.split not in splits.setdefault(bag.origin, []):
            splits[bag.origin].append(bag.split)
    return [
        f"warning: recordings of {origin} are in {' and '.join(sorted(names))}: the results will look better than they are"
        for origin, names in splits.items()
        if len(names) > 1
    ]
