"""How `sentryfuse bench faults` judges what it sees of a running fuse_node: the troubles that make a row fail, as texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..replay.fault_matrix import GAP_PERIODS, MatrixRow
from .fault_rig import Rig

Samples = Mapping[str, Sequence[bytes]]  # by sensor, sound messages of it
Say = Callable[[str], None]
# Read as `fault_rows.BACK_S` where they are used, so that a test on a busy machine can set them.
BACK_S = 3.0  # a restarted driver is heard again within this: discovery, a new rate, three good messages
NOTICED_S = 2.0  # the end of a driver is noticed within this
SAID_S = 10.0  # what diagnostics have to say comes within this, after `WATCH_S`
WATCH_S = 3.0


def fault_row(
    group: str, name: str, troubles: Sequence[str], gap: float | None = None, said: str = "", **values: Any
) -> MatrixRow:
    return MatrixRow(name, group, not troubles, gap_periods=gap, said=said, trouble="; ".join(troubles), **values)


def pause_troubles(gap: float | None, limit: float = GAP_PERIODS) -> list[str]:
    if gap is None:
        return ["no predictions"]
    return [f"a pause of {gap} periods between predictions"] if gap > limit else []


def return_troubles(made: Rig, limit_s: float = 0.0) -> list[str]:
    limit_s = max(limit_s, BACK_S)
    if made.all_live(limit_s) is not None:
        return []
    return [f"not back within {limit_s:g} s: {', '.join(f'{name} {state}' for name, state in made.states().items())}"]


def said_soon(made: Rig, index: int, words: str) -> str:
    """What diagnostics said of the loop in these words, from a row of theirs on, or say soon; "" if nothing."""
    made.until(lambda: bool(made.said_since(index, "loop", words)), SAID_S)
    return made.said_since(index, "loop", words)


def fallen_troubles(made: Rig, index: int) -> list[str]:
    """The sensors that have not been OK all the time since a row of the statuses."""
    rows = made.collector.statuses[index:]
    fallen = {name: status for row in rows for name, status in row.states.items() if status.state != "OK"}
    return (
        [f"not OK: {', '.join(f'{name} {status.state} ({status.reason})' for name, status in fallen.items())}"] if fallen else []
    )
