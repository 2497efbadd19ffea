"""What batteries and power budgets send, and the pruning ratio that must follow: further rows of `sentryfuse bench faults`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .fault_matrix import GAP_PERIODS, MatrixRow, begun_within, longest_gap_periods
from .run_record import PowerRow, PredictionRow

NAN = float("nan")
CASE_S = 4.0  # length of a case: the dwell of the ratio, discovery of a publisher, and some messages
PRIME_S = 1.2  # at its beginning the first message is repeated for this long
RATE_HZ = 5.0
BATTERY_TIMEOUT_S = 1.0  # of the node under test; the batteries of earlier cases are forgotten after it
DWELL_S = 0.2
BATTERY, BUDGET = "battery", "budget"


@dataclass(frozen=True)
class PowerCase:
    """One case: messages that are sent in turn, and what `PruningState` must say at its end.

    first: what is sent before, so that there is something to keep. A battery message is the fields of a BatteryState, a budget
    the watts. ratio: lowest and highest. steady: the ratio must not change in the second half.
    """

    name: str
    messages: tuple[Any, ...]
    ratio: tuple[float, float]
    words: tuple[str, ...]
    first: Any = None
    input: str = BATTERY
    best_effort: bool = False
    steady: bool = False


def _pack(percentage: float, name: str, **fields: Any) -> dict[str, Any]:
    return {"percentage": percentage, "location": name, "present": True, **fields}


def power_cases() -> list[PowerCase]:
    """All cases. Every one has a battery with a name of its own, so that none is judged by what another left behind."""

    def kept(name: str, percentage: float, words: str) -> PowerCase:
        return PowerCase(name, (_pack(percentage, name),), (0.8, 0.8), ("15 %", words), _pack(0.15, name))

    unfilled = {"percentage": 0.0, "location": "never filled", "present": False}
    return [
        kept("NaN", NAN, "NaN"),
        kept("-0.01", -0.01, "out of range"),
        kept("200", 200.0, "out of range"),
        PowerCase("over 1", (_pack(1.17, "over"),), (0.0, 0.0), ("100 %",), _pack(0.97, "over")),
        PowerCase("0 to 100", (_pack(35.0, "percent"),), (0.5, 0.5), ("35 %",)),
        PowerCase("never filled", (unfilled,), (0.8, 0.8), ("15 %", "not filled in"), _pack(0.15, "never filled")),
        PowerCase("silent", (), (0.8, 0.8), ("15 %", "silent"), _pack(0.15, "silent")),
        PowerCase("two packs", (_pack(0.85, "id0"), _pack(0.35, "id1")), (0.5, 0.5), ("35 %", "lowest of 2"), steady=True),
        PowerCase("two packs, one name", (_pack(0.85, "id"), _pack(0.35, "id")), (0.5, 0.5), ("35 %", "in turn"), steady=True),
        PowerCase("best effort", (_pack(0.15, "best effort"),), (0.8, 0.8), ("15 %",), best_effort=True),
        PowerCase("flapping", (_pack(0.495, "flap"), _pack(0.505, "flap")), (0.3, 0.4), (), steady=True),
        PowerCase("charging", (_pack(0.3, "charger", power_supply_status=1),), (0.0, 0.0), ("charging",)),
        PowerCase("5 W", (5.0,), (0.9, 0.9), ("5 W",), input=BUDGET),
        PowerCase("negative", (-3.0,), (0.9, 0.9), ("5 W", "refused"), 5.0, BUDGET),
        PowerCase("infinite", (float("inf"),), (0.9, 0.9), ("5 W", "refused"), 5.0, BUDGET),
        PowerCase("best effort", (5.0,), (0.9, 0.9), ("5 W",), input=BUDGET, best_effort=True),
        PowerCase("silent", (), (0.9, 0.9), ("5 W",), 5.0, BUDGET),
        PowerCase("zero", (0.0,), (0.9, 0.9), ("0 W",), input=BUDGET),
        PowerCase("flapping", (6.0, 6.2), (0.8, 0.9), (), input=BUDGET, steady=True),
        PowerCase("withdrawn by NaN", (NAN,), (0.0, 0.8), (), 5.0, BUDGET),
    ]


@dataclass(frozen=True)
class PowerRun:
    """What fuse_node published while the cases were played one after the other; times in seconds since the first began."""

    power: Sequence[PowerRow]
    predictions: Sequence[PredictionRow]
    fuse_period_s: float


def judge_power(cases: Sequence[PowerCase], run: PowerRun) -> list[MatrixRow]:
    """One row per case."""
    return [_judge(case, index * CASE_S, run) for index, case in enumerate(cases)]


def _judge(case: PowerCase, begin_s: float, run: PowerRun) -> MatrixRow:
    end_s = begin_s + CASE_S
    said = [row for row in run.power if begin_s + PRIME_S <= row.t_s < end_s]
    gap = longest_gap_periods(begun_within(run.predictions, begin_s, end_s), run.fuse_period_s)
    troubles = []
    if gap is None or gap > GAP_PERIODS:
        troubles.append(f"a pause of {gap} periods between predictions" if gap else "no predictions")
    if not said:
        return MatrixRow(case.name, case.input, False, gap_periods=gap, trouble="nothing was said of the ratio")
    last, half = said[-1], [row.ratio for row in said if row.t_s >= begin_s + (PRIME_S + CASE_S) / 2]
    low, high = case.ratio
    if not low - 1e-6 <= last.ratio <= high + 1e-6:
        troubles.append(f"ratio {last.ratio:.2f}, expected {low:g}" + (f" to {high:g}" if high != low else ""))
    troubles += [f"not said: {word}" for word in case.words if not any(word in row.reason for row in said)]
    if case.steady and len(set(half)) > 1:
        troubles.append(f"the ratio changed between {min(half):.2f} and {max(half):.2f}")
    return MatrixRow(case.name, case.input, not troubles, gap_periods=gap, said=last.reason, trouble="; ".join(troubles))


def as_fields(message: Any) -> Mapping[str, Any]:
    """A case's message as the fields of its ROS message."""
    return message if isinstance(message, Mapping) else {"data": message}
