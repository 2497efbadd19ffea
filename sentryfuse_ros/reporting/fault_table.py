"""The table of `sentryfuse bench faults`, for a console and as a page of the documentation, from its JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_atomically

SAID_CHARACTERS = 90
SCENARIO_GROUPS = ("/clock", "load", "mask")  # rows of the third table, with those of these faults of a sensor
SCENARIO_FAULTS = ("late start", "restarted", "hostile", "fuzzed")
_INTRODUCTION = """\
# Every fault of every sensor, over real topics

`sentryfuse bench faults --json FILE --page docs/FAULTS.md` wrote this page. It plays a simulated drive into a `fuse_node` in
a process of its own and injects one fault after the other into every sensor (first table). It then sends odd batteries and
power budgets (second table), and plays the scenarios of the third table with one second of that drive, which is repeated. At
the end it feeds mutated messages to the decoders. [REPLAY.md](REPLAY.md) explains the faults and the limits,
[LIVENESS.md](LIVENESS.md) the states, and [POWER.md](POWER.md) the ratios. With `--quick` each fault is injected once,
otherwise five times; [RESULTS.md](RESULTS.md#promises) has the figures of the last full run.
"""
_LEGEND = """\
Times are in seconds. Behind the stroke stands the limit that is promised. The gap is the longest pause between two
predictions, in fuse periods. Where nothing is promised of the mask, a row passes if predictions keep coming and the sensor
returns."""


def fault_lines(result: Mapping[str, Any]) -> str:
    """The rows that did not pass, and the summary, for a console."""
    lines = [
        f"{'passed' if row['passed'] else 'FAILED'}  {row['sensor']:8} {row['fault']:20} {row['trouble']}".rstrip()
        for row in result["rows"]
    ]
    return "\n".join([*lines, json.dumps(result["summary"])])


def fault_page(result: Mapping[str, Any]) -> str:
    """The page docs/FAULTS.md: one row per fault, with what was measured."""
    summary, machine = result["summary"], result["machine"]
    rounds = max(Counter((row["sensor"], row["fault"]) for row in result["rows"]).values())
    measured = (
        f"In this run each fault was injected {'once' if rounds == 1 else f'{rounds} times'}. {summary['passed']} of "
        f"{summary['rows']} rows passed. The longest pause between two predictions was "
        f"{summary['max_gap_periods']} fuse periods (promised: 2); the mask bit cleared after at most "
        f"{summary['mask_clear_s_p99_over_promise']} of the promised time (99th percentile). Of {summary['fuzzed']} mutated "
        f"messages, {summary['crashes']} raised an error that escaped. Measured on {machine['processor']}, {machine['cores']} "
        f"cores, Python {machine['python']}, recording {result['recording']}."
    )
    head = [_INTRODUCTION, *textwrap.wrap(measured, 125), "", _LEGEND, ""]
    scenarios = [row for row in result["rows"] if row["sensor"] in SCENARIO_GROUPS or row["fault"].startswith(SCENARIO_FAULTS)]
    sensors = [row for row in result["rows"] if row["sensor"] not in ("battery", "budget") and row not in scenarios]
    power = [row for row in result["rows"] if row["sensor"] in ("battery", "budget")]
    table = ["| sensor | fault | cleared | returned | gap | what the node said | passed |", "|---|---|---|---|---|---|---|"]
    table += [
        f"| {row['sensor']} | {row['fault']} | {_seconds(row['mask_clear_s'], row['clear_limit_s'])} |"
        f" {_seconds(row['mask_return_s'], row['return_limit_s'])} | {row['gap_periods']} | {_said(row)} | {_passed(row)} |"
        for row in sensors
    ]
    table += ["", "| input | message | gap | reason of the ratio at the end | passed |", "|---|---|---|---|---|"]
    table += [f"| {row['sensor']} | {row['fault']} | {row['gap_periods']} | {_said(row)} | {_passed(row)} |" for row in power]
    if scenarios:
        table += ["", "| where | scenario | gap | what the node said | passed |", "|---|---|---|---|---|"]
        table += [
            f"| {row['sensor']} | {row['fault']} | {_known(row['gap_periods'])} | {_said(row)} | {_passed(row)} |"
            for row in scenarios
        ]
    return "\n".join([*head, *table]) + "\n"


def write_page(result: Mapping[str, Any], path: Path) -> None:
    """Write the page to a file."""
    write_atomically(path, fault_page(result))


def _known(value: float | None) -> str:
    return "" if value is None else str(value)


def _seconds(value: float | None, limit: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" + (f" / {limit:.2f}" if limit is not None else "")


def _said(row: Mapping[str, Any]) -> str:
    text = str(row["said"]).replace("|", "/").replace("\n", " ")
    return text if len(text) <= SAID_CHARACTERS else text[:SAID_CHARACTERS].rsplit(" ", 1)[0] + " ..."


def _passed(row: Mapping[str, Any]) -> str:
    return "yes" if row["passed"] else f"**no**: {row['trouble']}"
