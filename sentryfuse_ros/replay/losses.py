"""One row per injected fault: what was done, when and how the mask reacted, what became of the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .faults import KINDS, Fault
from .run_record import RunRecord
from .truth import score

BEFORE_S = 3.0  # predictions this long before a fault are what those during it are compared with
REASON_CHARACTERS = 110


@dataclass(frozen=True)
class Loss:
    """One fault. Seconds; None where it never came to that. ``before``, ``during``: see `truth.score`."""

    number: int
    fault: Fault
    done: str  # what was done to the sensor, in words
    seen_as: tuple[str, ...]
    reason: str  # the fuser's own words when it noticed
    clear_s: float | None  # fault's begin to the first tick without the sensor
    clear_limit_s: float | None
    back_s: float | None  # fault's end to the first tick with the sensor
    kept: bool
    note: str
    before: Mapping[str, Any]
    during: Mapping[str, Any]


def losses(record: RunRecord, verdicts: list[Mapping[str, Any]]) -> list[Loss]:
    """The script's faults with the judge's ``verdicts`` (summary["faults"]), in the order of the script."""
    classes = record.model.classes
    out = []
    for number, (fault, seen) in enumerate(zip(record.script.faults, verdicts, strict=True), 1):
        before = [p for p in record.predictions if fault.from_s - BEFORE_S <= p.t_s < fault.from_s]
        during = [p for p in record.predictions if fault.active(p.t_s)]
        out.append(
            Loss(
                number,
                fault,
                describe(fault),
                tuple(seen["seen_as"]),
                first_reason(record, fault),
                seen["mask_clear_s"],
                seen["clear_limit_s"],
                back_after(record, fault) if seen["mask_clear_s"] is not None else None,
                seen["kept"],
                seen["note"],
                score(before, record.labels, classes),
                score(during, record.labels, classes),
            )
        )
    return out


def describe(fault: Fault) -> str:
    """A fault in words, its numbers filled in."""
    return {
        "delay": f"messages come {fault.by_s:g} s late, stamps unchanged",
        "slow": f"only every {fault.keep_every}th message passes",
        "intermittent": f"on and off in turn, every {fault.period_s:g} s on for {fault.on_share * fault.period_s:g} s",
    }.get(fault.kind, KINDS[fault.kind].partition(" (")[0])


def first_reason(record: RunRecord, fault: Fault) -> str:
    """Why the fuser gave the sensor up, in its own words; "" where it did not."""
    for row in record.statuses:
        state, _, reason = row.states.get(fault.sensor, ("OK", 0.0, ""))
        if fault.active(row.t_s) and state != "OK" and reason:
            return reason if len(reason) <= REASON_CHARACTERS else reason[:REASON_CHARACTERS].rsplit(" ", 1)[0] + " ..."
    return ""


def back_after(record: RunRecord, fault: Fault) -> float | None:
    """Seconds from the fault's end to the first tick that trusts the sensor again."""
    back = next(
        (row.t_s for row in record.statuses if row.t_s >= fault.to_s and row.states.get(fault.sensor, ("",))[0] == "OK"), None
    )
    return None if back is None else round(back - fault.to_s, 3)
