"""One row per injected fault: what was done, when and how the mask reacted, and how the predictions fared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .faults import FAULT_KINDS, InjectedFault
from .judge import FaultVerdict
from .run_record import RunRecord
from .scores import Score, score

BEFORE_S = 3.0  # predictions during a fault are compared with those of this long before it
REASON_CHARACTERS = 110


@dataclass(frozen=True)
class Loss:
    """One fault and its consequences.

    done: what was done to the sensor, in words. reason: the fuser's own words when it noticed. back_s: from the end of the
    fault to the first tick with the sensor, None if there was none.
    """

    number: int
    fault: InjectedFault
    verdict: FaultVerdict
    done: str
    reason: str
    back_s: float | None
    before: Score
    during: Score


def losses(record: RunRecord, verdicts: Sequence[FaultVerdict]) -> list[Loss]:
    """The faults of the script with the judge's verdicts, in the order of the script."""
    classes = record.model.classes
    return [
        Loss(
            number,
            fault,
            verdict,
            describe(fault),
            first_reason(record, fault),
            back_after(record, fault) if verdict.mask_clear_s is not None else None,
            score([p for p in record.predictions if fault.from_s - BEFORE_S <= p.t_s < fault.from_s], record.labels, classes),
            score([p for p in record.predictions if fault.active(p.t_s)], record.labels, classes),
        )
        for number, (fault, verdict) in enumerate(zip(record.script.faults, verdicts, strict=True), 1)
    ]


def describe(fault: InjectedFault) -> str:
    """A fault in words, its numbers filled in."""
    return {
        "delay": f"messages arrive {fault.by_s:g} s late, with unchanged stamps",
        "slow": f"only every {fault.keep_every}th message passes",
        "burst": f"messages are handed over together every {fault.period_s:g} s",
        "intermittent": f"messages pass for {fault.on_share * fault.period_s:g} s of every {fault.period_s:g} s",
    }.get(fault.kind, FAULT_KINDS[fault.kind].partition(" (")[0])


def first_reason(record: RunRecord, fault: InjectedFault) -> str:
    """The fuser's reason for leaving the sensor out; "" if it did not."""
    for row in record.statuses:
        status = row.states.get(fault.sensor)
        if status is not None and fault.active(row.t_s) and status.state != "OK" and status.reason:
            reason = status.reason
            return reason if len(reason) <= REASON_CHARACTERS else reason[:REASON_CHARACTERS].rsplit(" ", 1)[0] + " ..."
    return ""


def back_after(record: RunRecord, fault: InjectedFault) -> float | None:
    """Seconds from the end of a fault to the first tick at which the sensor is OK again; None if there is none."""
    back = next((row.t_s for row in record.statuses if row.t_s >= fault.to_s and row.of(fault.sensor).state == "OK"), None)
    return None if back is None else round(back - fault.to_s, 3)
