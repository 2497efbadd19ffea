"""The rows of `sentryfuse bench faults`: each must fail where its promise is broken."""

from dataclasses import replace

import pytest
from recording_over_dds import fault_rows

from sentryfuse_ros.replay import fault_matrix as matrix
from sentryfuse_ros.replay.fault_matrix import (
    BESIDE,
    DiagnosticRow,
    MatrixRun,
    judge_matrix,
    plan_matrix,
    summarise_matrix,
    to_dict,
)
from sentryfuse_ros.replay.judge import Limits, SensorLimits
from sentryfuse_ros.replay.power_cases import CASE_S, PowerCase, PowerRun, judge_power, power_cases
from sentryfuse_ros.replay.run_record import PowerRow, PredictionRow, SensorStatus, StatusRow
from sentryfuse_ros.replay.schedule import DeliveryLog
from sentryfuse_ros.reporting.fault_table import fault_lines, fault_page

TICK_S = 0.1
SENSOR = SensorLimits(timeout_s=0.2, good_samples=3, frozen_samples=10, invalid_samples=3, period_s=1 / 30, max_latency_s=1.0)
SENSORS = ["camera", "imu"]
LIMITS = Limits(TICK_S, dict.fromkeys(SENSORS, SENSOR))


def prediction(t_s, wall_s=None, valid=True, reason=""):
    return PredictionRow(t_s, t_s if wall_s is None else wall_s, valid, reason, "x", 0.9, (valid,), 0.0, 3.0, 20.0, 4.0, 1)


def played(plan, state_of, pause_at=None, named=True):
    """A run in which state_of(sensor, t_s) is what the node said; pause_at: a prediction is left out for 0.3 s from there."""
    ticks = [round(i * TICK_S, 3) for i in range(int(plan.end_s / TICK_S))]
    rows = [StatusRow(t, {s: SensorStatus(state_of(s, t), 30.0, f"{s} reason") for s in SENSORS}) for t in ticks]
    live = {row.t_s: any(status.state == "OK" for status in row.states.values()) for row in rows}
    predictions = [
        prediction(t, valid=live[t], reason="" if live[t] else "no live sensor")
        for t in ticks
        if pause_at is None or not pause_at <= t < pause_at + 0.3
    ]
    troubled = [(t, s) for t in ticks for s in SENSORS if state_of(s, t) != "OK"]
    diagnostics = [DiagnosticRow(t + 1.0, f"fuse_node: sensor {s}", 1, "STALE") for t, s in troubled] if named else []
    diagnostics += [
        DiagnosticRow(f.from_s + 2, f"fuse_node: sensor {f.sensor}", 1, "OK; 2 publishers on /x") for f in plan.beside() if named
    ]
    times = [i / 30 for i in range(int(plan.end_s * 30))]
    sound = {s: [t for t in times if not any(f.active(t) for f in plan.injected() if f.sensor == s)] for s in SENSORS}
    return MatrixRun(predictions, rows, diagnostics, plan.end_s), DeliveryLog({s: times for s in SENSORS}, sound)


def faithful(plan, kinds=("off",)):
    """A node that notices the given kinds within 0.3 s, and takes as long to forgive."""

    def state(sensor, t_s):
        return next(
            ("STALE" for f in plan.faults if f.sensor == sensor and f.kind in kinds and f.from_s + 0.25 <= t_s < f.to_s + 0.15),
            "OK",
        )

    return state


def test_the_plan_has_every_kind_of_every_sensor_and_then_all_at_once():
    plan = plan_matrix(SENSORS, rounds=2)
    single, last = plan.faults[:-2], plan.faults[-2:]
    assert [(f.kind, f.sensor) for f in single] == [(k, s) for _ in range(2) for k in matrix.KINDS for s in SENSORS]
    assert all(a.to_s < b.from_s for a, b in zip(single, single[1:])) and last[0].from_s == last[1].from_s > single[-1].to_s
    assert {f.kind for f in plan.beside()} == {BESIDE} and BESIDE not in {f.kind for f in plan.injected()}


def test_a_faithful_node_passes_every_row():
    plan = plan_matrix(SENSORS, ["off", "corrupt", "burst", BESIDE])
    run, log = played(plan, faithful(plan))
    rows = judge_matrix(plan, run, log, LIMITS)
    assert [row.trouble for row in rows] == [""] * 9 and all(row.passed for row in rows)
    assert rows[0].mask_clear_s == pytest.approx(0.3) and rows[0].clear_limit_s == pytest.approx(0.35)
    assert rows[-1].sensor == "all" and rows[-1].said == "no live sensor"
    summary = summarise_matrix(rows)
    assert summary == {"rows": 9, "passed": 9, "mask_clear_s_p99_over_promise": 0.857, "max_gap_periods": 1.0}


@pytest.mark.parametrize(
    "kind, changes, words",
    [
        ("off", {"state_of": lambda sensor, t_s: "OK"}, "never cleared"),
        ("off", {"named": False}, "diagnostics did not name the sensor"),
        ("off", {"pause_at": matrix.FIRST_S + 1}, "a pause of 4.0 periods"),
        ("corrupt", {"pause_at": matrix.FIRST_S + 1}, "a pause of 4.0 periods"),
        ("burst", {"state_of": lambda sensor, t_s: "STALE"}, "still STALE at the end"),
        (BESIDE, {"named": False}, "did not name the other publisher"),
    ],
)
def test_a_broken_promise_fails_its_row(kind, changes, words):
    plan = plan_matrix(SENSORS, [kind])
    run, log = played(plan, **{"state_of": faithful(plan), **changes})
    row = judge_matrix(plan, run, log, LIMITS)[0]
    assert not row.passed and words in row.trouble


def test_a_pause_from_one_row_into_the_next_fails_the_row_in_which_it_begins():
    plan = plan_matrix(SENSORS, ["off"])
    boundary_s = plan.faults[1].from_s
    run, delivered = played(plan, faithful(plan), pause_at=boundary_s - 0.15)
    rows = judge_matrix(plan, run, delivered, LIMITS)
    assert [row.passed for row in rows] == [False, True, True] and "a pause of" in rows[0].trouble, rows


def test_valid_predictions_without_any_sensor_fail_the_last_row():
    plan = plan_matrix(SENSORS, ["off"])
    run, log = played(plan, faithful(plan))
    believed = replace(run, predictions=[replace(p, valid=True) for p in run.predictions])
    assert "not marked" in judge_matrix(plan, believed, log, LIMITS)[-1].trouble


CASE = PowerCase("NaN", ({"percentage": float("nan")},), (0.8, 0.8), ("15 %", "NaN"), {"percentage": 0.15}, steady=True)


def power_run(ratios, reason="battery 15 % asks 0.80; battery reads NaN", pause=False):
    power = [PowerRow(1.0 + 0.5 * i, 15.0, ratio, 1, 1, reason) for i, ratio in enumerate(ratios)]
    ticks = [i * TICK_S for i in range(40) if not pause or not 20 < i < 25]
    return PowerRun(power, [prediction(t) for t in ticks], TICK_S)


@pytest.mark.parametrize(
    "run, words",
    [
        (power_run([0.8] * 6), ""),
        (power_run([0.8] * 5 + [0.3]), "ratio 0.30, expected 0.8"),
        (power_run([0.8] * 6, reason="battery 15 % asks 0.80"), "not said: NaN"),
        (power_run([0.8, 0.8, 0.8, 0.8, 0.2, 0.8]), "changed between 0.20 and 0.80"),
        (power_run([0.8] * 6, pause=True), "a pause of"),
        (power_run([]), "nothing was said"),
    ],
)
def test_a_power_case_passes_only_if_ratio_and_words_are_right(run, words):
    (row,) = judge_power([CASE], run)
    assert words in row.trouble and row.passed is (not words)


def test_the_shipped_cases_have_what_to_keep_before_what_must_not_count():
    cases = power_cases()
    assert len({(case.input, case.name) for case in cases}) == len(cases)
    assert all(0 <= case.ratio[0] <= case.ratio[1] <= 0.9 for case in cases) and CASE_S > 2


def test_console_and_page_show_every_row_and_what_failed():
    plan = plan_matrix(SENSORS, ["off"])
    rows = judge_matrix(plan, *played(plan, lambda sensor, t_s: "OK"), LIMITS) + judge_power([CASE], power_run([0.8] * 6))
    result = {
        "summary": {**summarise_matrix(rows), "fuzzed": 7, "crashes": 0},
        "rows": [to_dict(row) for row in rows],
        "machine": {"processor": "some | processor", "cores": 2, "python": "3.11"},
        "recording": "drive",
    }
    page = fault_page(result)
    assert page.count("**no**: the mask never cleared") == 2 and "| battery | NaN |" in page and "Of 7 mutated" in page
    assert fault_lines(result).count("FAILED") == 3 and '"passed": 1' in fault_lines(result)


OVER_DDS = """
import json, sys
from pathlib import Path
from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.nodes import door
from sentryfuse_ros.replay.fault_matrix import BESIDE, MatrixTask, Stage, judge_matrix, plan_matrix, to_dict
from sentryfuse_ros.replay.faults import FaultScript
from sentryfuse_ros.replay.power_cases import judge_power, power_cases
from sentryfuse_ros.replay.schedule import DeliveryLog, Schedule, deliveries
from sentryfuse_ros.replay.session import limits_of
from sentryfuse_ros.settings import build_settings

folder, domain = Path(sys.argv[1]), int(sys.argv[2])
arguments = ["--ros-args", "-p", "warm_up:=false", "-p", "model:=utd_mhad_depth_imu", "-p", "diagnostics_rate_hz:=4.0"]
cases = [case for case in power_cases() if case.name in ("never filled", "best effort")]
stage = Stage([*arguments, "-p", "dwell_s:=0.2", "-p", "battery_timeout_s:=1.0"], domain, folder / "power.log")
rows = judge_power(cases, door.play_power(stage, cases, 0.1, lambda index: None))
with Bag(folder / "run") as bag:
    settings = build_settings({"sensors": ["camera", "imu"]})
    topics = match_sensors(bag, settings.sensors).topics
    plan, log = plan_matrix(["camera"], [BESIDE, "freeze"]), DeliveryLog()
    schedule = Schedule(topics, bag.start_ns, (), FaultScript(plan.injected()), 30, 0.0, plan.end_s)
    samples = {"camera": [bytes(raw) for _, _, raw in bag.messages([topics["camera"].name])][:20]}
    task = MatrixTask(plan, topics, deliveries(bag, schedule, log), samples, bag.start_ns, log)
    for name, topic in topics.items():
        arguments += ["-p", f"{name}.topic:={topic.name}", "-p", f"{name}.type:={topic.msg_type}"]
    stage = Stage([*arguments, "-p", "use_sim_time:=true"], domain, folder / "matrix.log")
    rows += judge_matrix(plan, door.play_matrix(stage, task, lambda t_s: None), log, limits_of(settings, log))
print(json.dumps([to_dict(row) for row in rows]))
"""


def test_a_second_publisher_a_frozen_camera_and_odd_batteries_over_dds(tmp_path):
    rows = fault_rows(tmp_path, OVER_DDS)
    assert "2 publishers on" in rows["camera", BESIDE]["said"]
    assert rows["camera", "freeze"]["seen_as"] == ["FROZEN"] and "same payload" in rows["camera", "freeze"]["said"]
    assert "not filled in" in rows["battery", "never filled"]["said"] and "5 W" in rows["budget", "best effort"]["said"]
    # The pauses between predictions depend on what else this machine does; everything else must be as promised.
    assert not [row for row in rows.values() if row["trouble"].replace("a pause of", "") and "a pause of" not in row["trouble"]]
