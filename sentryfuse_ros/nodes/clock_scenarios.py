"""Every way in which /clock may run, under use_sim_time. Each function gives a row of `sentryfuse bench faults`; it gets a rig
whose sensors are all live, and leaves it so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ..bags.bag import Topic
from ..replay.fault_matrix import MatrixRow, Stage
from . import fault_rows
from .fault_bench import READY_TIMEOUT_S
from .fault_rig import Rig, rig
from .fault_rows import Samples, Say, fallen_troubles, fault_row, pause_troubles, return_troubles, said_soon

Scenario = Callable[[Rig, str], MatrixRow]


def clock_scenarios(stage: Stage, topics: Mapping[str, Topic], samples: Samples, period_s: float, say: Say) -> list[MatrixRow]:
    """Every way in which /clock may run."""
    rows = []
    with rig(stage, topics, samples, True, period_s) as made:
        made.clock_runs = False
        scenarios: dict[str, Scenario] = {
            "absent": _clock_absent,
            "paused": _clock_paused,
            "looped": partial(_clock_jumped, jump_s=-20.0, words="jumped back"),
            "jumped ahead": partial(_clock_jumped, jump_s=100.0),
            "at rate 0.1": partial(_clock_at, speed=0.1),
            "at rate 10": partial(_clock_at, speed=10.0),
        }
        for name, scenario in scenarios.items():
            say(f"/clock {name}")
            rows.append(scenario(made, name))
    return rows


def _clock_absent(made: Rig, name: str) -> MatrixRow:
    troubles = []
    active = made.until(lambda: made.collector.latest.info is not None, READY_TIMEOUT_S)
    begin, before = len(made.diagnostics), len(made.collector.predictions)
    made.wait(fault_rows.WATCH_S)
    said = said_soon(made, begin, "no /clock has come yet")
    if active is None or not said:
        troubles.append("diagnostics did not say that /clock is absent")
    if len(made.collector.predictions) > before:
        troubles.append("predictions at time 0")
    made.clock_runs = True
    return fault_row("/clock", name, troubles + return_troubles(made, 10.0), said=said)


def _clock_paused(made: Rig, name: str) -> MatrixRow:
    begin, rows = len(made.diagnostics), len(made.collector.statuses)
    made.clock.bend(speed=0.0)
    made.wait(fault_rows.WATCH_S)
    said = said_soon(made, begin, "stands still")
    made.clock.bend(speed=1.0)
    resumed = len(made.collector.predictions)
    made.wait(1.5)
    troubles = fallen_troubles(made, rows)
    if not said:
        troubles.append("diagnostics did not say that the clock stands still")
    gap = made.gap_since(resumed + 1)
    return fault_row("/clock", name, troubles + pause_troubles(gap), gap, said)


def _clock_jumped(made: Rig, name: str, jump_s: float, words: str = "") -> MatrixRow:
    before, begin_log = len(made.collector.predictions), len(made.fuser.log_path.read_text(errors="replace"))
    made.clock.bend(jump_s=jump_s)
    made.wait(0.3)
    troubles = return_troubles(made)
    said = next((line for line in made.fuser.log_path.read_text(errors="replace")[begin_log:].splitlines() if words in line), "")
    if words and not said:
        troubles.append("the log did not name the jump")
    gap = made.gap_since(before)
    return fault_row("/clock", name, troubles + pause_troubles(gap), gap, said.rpartition("]: ")[2])


def _clock_at(made: Rig, name: str, speed: float) -> MatrixRow:
    """Slow simulated time must not look like dying sensors; of fast time that is too fast, diagnostics tell."""
    made.clock.bend(speed=speed)
    made.wait(1.0)
    rows, before, begin = len(made.collector.statuses), len(made.collector.predictions), len(made.diagnostics)
    begin_s = made.clock.now_s()
    made.wait(2 * fault_rows.WATCH_S)
    troubles, said = [], ""
    if speed < 1.0:
        troubles += fallen_troubles(made, rows)
    count, expected = len(made.collector.predictions) - before, (made.clock.now_s() - begin_s) / made.fuse_period_s
    if count < 0.9 * expected - 1:  # one of them may come just before or just after
        said = said_soon(made, begin, "simulated time runs")
        if speed <= 1.0 or not said:
            troubles.append(f"{count} predictions where {expected:.0f} were due, and diagnostics did not say why")
    gap = made.gap_since(before + 1, made.fuse_period_s / min(speed, 1.0))
    made.clock.bend(speed=1.0)
    return fault_row(
        "/clock", name, troubles + pause_troubles(gap) + return_troubles(made, 10.0), gap, said or f"{count} predictions"
    )
