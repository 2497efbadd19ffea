"""Every fault of every sensor, one after the other in one replay, and a verdict on each: the rows of `sentryfuse bench faults`.

A row passes if the mask followed the fault as promised (`judge`), predictions kept coming, and diagnostics named the sensor where
it was left out. Two kinds are judged here alone: messages in bursts must be understood before the fault ends, and another
publisher beside the sensor must be named.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..bags.bag import Topic
from .faults import InjectedFault
from .judge import FaultVerdict, Limits, judge_fault
from .run_record import PredictionRow, StatusRow
from .schedule import Delivery, DeliveryLog

BESIDE = "other publisher"  # beside the sensor's own, on its topic; no kind of the injector, because it is a node of its own
ALL = "all"  # row of the fault that takes every sensor at once
KINDS = ("off", "freeze", "garbage", "slow", "delay", "intermittent", "corrupt", "burst", "lie", BESIDE)
FIRST_S = 8.0  # when the first fault begins: every sensor is up by then
FAULT_S = {
    "burst": 5.0,
    "lie": 4.0,
    BESIDE: 4.0,
    "intermittent": 4.0,
}  # length of a fault [s]; a burst must be learnt, a publisher discovered, a lie fill the window
OTHERWISE_S = 3.0
REST_S = 2.5  # from the end of one fault to the next
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "slow": {"keep_every": 8},
    "delay": {"by_s": 1.2},
    "burst": {"period_s": 0.4},
    "intermittent": {"period_s": 1.0, "on_share": 0.4},
}
GAP_PERIODS = 2.0  # the longest pause between two predictions, in fuse periods


class DiagnosticRow(NamedTuple):
    """One status of /diagnostics; level as in diagnostic_msgs/DiagnosticStatus, 0 is OK."""

    t_s: float
    name: str
    level: int
    text: str


@dataclass(frozen=True)
class Stage:
    """How fuse_node is started for a run, on which ROS domain, and where its log goes."""

    arguments: Sequence[str]
    domain_id: int
    log_path: Path


@dataclass(frozen=True)
class MatrixTask:
    """What is played for the matrix.

    topics: by sensor. samples: by sensor, the messages of one second, which the other publisher repeats. start_ns: time of t = 0.
    delivered: filled in by the stream.
    """

    plan: MatrixPlan
    topics: Mapping[str, Topic]
    stream: Iterator[Delivery]
    samples: Mapping[str, Sequence[bytes]]
    start_ns: int
    delivered: DeliveryLog


@dataclass(frozen=True)
class MatrixRow:
    """One fault of one sensor, or of the power inputs, and whether all that is promised was kept.

    Times in seconds, None where there is nothing to measure. gap_periods: longest pause between two predictions from its start to
    the next fault, in fuse periods. said: what the fuser said of it.
    """

    fault: str
    sensor: str
    passed: bool
    mask_clear_s: float | None = None
    clear_limit_s: float | None = None
    mask_return_s: float | None = None
    return_limit_s: float | None = None
    seen_as: tuple[str, ...] = ()
    gap_periods: float | None = None
    said: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class MatrixRun:
    """What fuse_node published while the matrix was played."""

    predictions: Sequence[PredictionRow]
    statuses: Sequence[StatusRow]
    diagnostics: Sequence[DiagnosticRow]
    end_s: float
    exit_status: int = 0
    last_words: str = ""


@dataclass
class MatrixPlan:
    """The faults in the order of time, and the end of the run [s]."""

    faults: list[InjectedFault] = field(default_factory=list)
    end_s: float = FIRST_S

    def injected(self) -> tuple[InjectedFault, ...]:
        """Those that the injector applies."""
        return tuple(fault for fault in self.faults if fault.kind != BESIDE)

    def beside(self) -> list[InjectedFault]:
        """Those that are another publisher."""
        return [fault for fault in self.faults if fault.kind == BESIDE]


def plan_matrix(sensors: Sequence[str], kinds: Sequence[str] = KINDS, rounds: int = 1) -> MatrixPlan:
    """Every kind of every sensor, ``rounds`` times, and at the end all sensors off at once."""
    plan = MatrixPlan()

    def add(names: Sequence[str], kind: str, length_s: float) -> None:
        to_s = plan.end_s + length_s
        plan.faults += [InjectedFault(name, kind, plan.end_s, to_s, **OPTIONS.get(kind, {})) for name in names]
        plan.end_s = to_s + REST_S + OPTIONS.get(kind, {}).get("by_s", 0.0)

    for _ in range(rounds):
        for kind in kinds:
            for name in sensors:
                add([name], kind, FAULT_S.get(kind, OTHERWISE_S))
    add(sensors, "off", OTHERWISE_S)
    return plan


def judge_matrix(plan: MatrixPlan, run: MatrixRun, delivered: DeliveryLog, limits: Limits) -> list[MatrixRow]:
    """One row per fault, and one for all sensors off at once."""
    judge = _Judge(run, delivered, limits)
    together = [fault for fault in plan.faults if fault.from_s == plan.faults[-1].from_s]
    single = plan.faults[: -len(together)]
    begins = [fault.from_s for fault in plan.faults] + [plan.end_s]
    rows = [judge.fault(fault, next(t for t in begins if t > fault.from_s)) for fault in single]
    if len(together) > 1:
        rows.append(judge.all_off(together))
    else:
        rows += [judge.fault(fault, plan.end_s) for fault in together]
    return rows


@dataclass(frozen=True)
class _Judge:
    run: MatrixRun
    delivered: DeliveryLog
    limits: Limits

    def fault(self, fault: InjectedFault, until_s: float) -> MatrixRow:
        """The verdict on one fault of one sensor; the next begins at until_s."""
        run = self.run
        sensor, words, troubles = fault.sensor, "", []
        said = [d for d in run.diagnostics if d.level > 0 and d.name.endswith(f"sensor {sensor}") and fault.active(d.t_s - 1.0)]
        gap = self.gap_periods(fault.from_s, until_s)
        if gap is None or gap > GAP_PERIODS:
            troubles.append(f"a pause of {gap} periods between predictions" if gap else "no predictions")
        if fault.kind == BESIDE:
            words = next((d.text for d in said if "publishers on" in d.text), "")
            if not words:
                troubles.append("diagnostics did not name the other publisher")
            return MatrixRow(fault.kind, sensor, not troubles, gap_periods=gap, said=words, trouble="; ".join(troubles))
        verdict = self._verdict(fault)
        if fault.kind == "burst":
            late = [row for row in run.statuses if fault.to_s - 1.0 <= row.t_s < fault.to_s and row.of(sensor).state != "OK"]
            if late:
                troubles.append(f"still {late[-1].of(sensor).state} at the end of the fault")
        elif not verdict.kept:
            troubles.append(verdict.note or "the mask was too slow")
        reason = next(
            (
                row.of(sensor).reason
                for row in run.statuses
                if fault.active(row.t_s) and row.of(sensor).state != "OK" and row.of(sensor).reason
            ),
            "",
        )
        if verdict.mask_clear_s is not None and fault.kind in ("off", "freeze", "garbage", "delay", "lie") and not said:
            troubles.append("diagnostics did not name the sensor")
        return MatrixRow(
            fault.kind,
            sensor,
            not troubles,
            verdict.mask_clear_s,
            verdict.clear_limit_s if fault.kind != "burst" else None,
            verdict.mask_return_s,
            verdict.return_limit_s if fault.kind != "burst" else None,
            verdict.seen_as,
            gap,
            reason or verdict.note,
            "; ".join(troubles),
        )

    def all_off(self, faults: Sequence[InjectedFault]) -> MatrixRow:
        """All sensors at once: predictions go on and say that they are not valid, and why."""
        run = self.run
        from_s, to_s = faults[0].from_s, faults[0].to_s
        verdicts = [self._verdict(fault) for fault in faults]
        troubles = [f"{v.sensor}: {v.note or 'the mask was too slow'}" for v in verdicts if not v.kept]
        blind_s = from_s + max((v.clear_limit_s or 0.0 for v in verdicts), default=0.0)
        blind = [p for p in run.predictions if blind_s <= p.t_s < to_s]
        if not blind or any(p.valid or not p.reason for p in blind):
            troubles.append("predictions without any sensor were not marked")
        gap = self.gap_periods(from_s, run.end_s)
        if gap is None or gap > GAP_PERIODS:
            troubles.append(f"a pause of {gap} periods between predictions" if gap else "no predictions")
        cleared = [v.mask_clear_s for v in verdicts if v.mask_clear_s is not None]
        limits = [v.clear_limit_s for v in verdicts if v.clear_limit_s is not None]
        return MatrixRow(
            "off",
            ALL,
            not troubles,
            max(cleared, default=None),
            max(limits, default=None),
            gap_periods=gap,
            said=blind[-1].reason if blind else "",
            trouble="; ".join(troubles),
        )

    def gap_periods(self, from_s: float, to_s: float) -> float | None:
        """Longest pause between two predictions that begins in a stretch of the run, in fuse periods; None with under two."""
        return longest_gap_periods(begun_within(self.run.predictions, from_s, to_s), self.limits.fuse_period_s)

    def _verdict(self, fault: InjectedFault) -> FaultVerdict:
        delivered = self.delivered
        if fault.kind == "delay":  # its messages arrive until by_s after its end, between sound ones
            sound_s = [t for t in delivered.sound_s.get(fault.sensor, []) if not fault.to_s <= t < fault.to_s + fault.by_s]
            delivered = DeliveryLog(delivered.all_s, {**delivered.sound_s, fault.sensor: sound_s})
        return judge_fault(fault, self.run.statuses, delivered, self.limits, self.run.end_s)


def begun_within(predictions: Sequence[PredictionRow], from_s: float, to_s: float) -> Sequence[PredictionRow]:
    """The predictions of a stretch of the run, and the next one, so that every pause of the run belongs to one stretch."""
    begin, end = (bisect_left(predictions, t_s, key=lambda p: p.t_s) for t_s in (from_s, to_s))
    return predictions[begin : end + 1] if end > begin else ()


def longest_gap_periods(predictions: Sequence[PredictionRow], period_s: float) -> float | None:
    """Longest pause between two predictions on the wall clock, in fuse periods; None with under two predictions."""
    wall_s = [p.wall_s for p in predictions]
    if len(wall_s) < 2:
        return None
    return round(max(b - a for a, b in zip(wall_s, wall_s[1:])) / period_s, 2)


def summarise_matrix(rows: Sequence[MatrixRow]) -> dict[str, Any]:
    """The head of the result: how many rows passed, and the worst of what was promised."""
    shares = sorted(row.mask_clear_s / row.clear_limit_s for row in rows if row.mask_clear_s is not None and row.clear_limit_s)
    gaps = [row.gap_periods for row in rows if row.gap_periods is not None]
    return {
        "rows": len(rows),
        "passed": sum(row.passed for row in rows),
        "mask_clear_s_p99_over_promise": round(shares[min(len(shares) - 1, math.ceil(0.99 * len(shares)) - 1)], 3)
        if shares
        else None,
        "max_gap_periods": max(gaps, default=None),
    }


def to_dict(row: MatrixRow) -> dict[str, Any]:
    """Ready for JSON."""
    return asdict(row)
