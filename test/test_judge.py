"""The judge of a run: it must catch every broken promise, and must not invent one."""

from dataclasses import replace

import pytest

from sentryfuse_ros.replay.faults import InjectedFault
from sentryfuse_ros.replay.judge import Limits, SensorLimits, judge_fault
from sentryfuse_ros.replay.run_record import PredictionRow, SensorStatus, StatusRow
from sentryfuse_ros.replay.run_summary import summarise
from sentryfuse_ros.replay.schedule import DeliveryLog
from sentryfuse_ros.sensing.trust_watch import UNDECIDED

TICK_S = 0.1
CAMERA = SensorLimits(timeout_s=0.2, good_samples=3, frozen_samples=10, invalid_samples=3, period_s=1 / 30, max_latency_s=1.0)
LIMITS = Limits(TICK_S, {"camera": CAMERA})


def statuses(states, end_s=10.0, asleep_until_s=0.0):
    """One row per tick; `states` maps a time range to a state, OK elsewhere. Until ``asleep_until_s`` the camera is asleep."""
    rows = []
    for i in range(int(end_s / TICK_S)):
        t = i * TICK_S
        state = next((s for (a, b), s in states.items() if a <= t < b), "OK")
        rows.append(StatusRow(t, {"camera": SensorStatus(state, 30.0, "", t < asleep_until_s)}))
    return rows


def delivered(fault, end_s=10.0):
    times = [i / 30 for i in range(int(end_s * 30))]
    sound = [t for t in times if not fault.active(t)]
    return DeliveryLog({"camera": sound}, {"camera": sound})


def predictions(rows, gap_at=None, gap_s=0.0):
    out, wall = [], 0.0
    for i, row in enumerate(rows):
        wall += TICK_S + (gap_s if i == gap_at else 0.0)
        live = row.states["camera"].state == "OK"
        out.append(PredictionRow(row.t_s, wall, live, "", "wave", 0.9, (live,), 0.5 * (i >= 50), 3.0, 20.0, 4.0, i + 1))
    return out


OFF = InjectedFault("camera", "off", 2.0, 5.0)


def test_a_good_run_keeps_every_promise():
    rows = statuses({(2.3, 5.15): "STALE"})
    s = summarise(predictions(rows), rows, [OFF], delivered(OFF), LIMITS, 10.0)
    assert s.promises_kept and s.promises_broken == ()
    assert s.mask_clear_s == [pytest.approx(0.3)] and s.mask_return_s[0] < 0.2
    assert s.predictions == 100 and s.max_gap_s == pytest.approx(0.1) and s.ratios_seen == (0.0, 0.5)
    assert s.overhead_ms_p99 == 4.0 and s.missed_sequences == 0 and s.never_seen == ()


def test_a_sensor_that_is_asleep_may_be_noticed_half_a_second_later():
    late = {(2.8, 5.15): "STALE"}
    for asleep_until_s, kept in ((2.2, True), (1.5, False)):  # asleep when the fault begins at 2 s, or awake again by then
        rows = statuses(late, asleep_until_s=asleep_until_s)
        verdict = judge_fault(OFF, rows, delivered(OFF), LIMITS, 10.0)
        assert verdict.kept == kept and verdict.clear_limit_s == pytest.approx(0.85 if kept else 0.35)
    too_late = statuses({(3.0, 5.15): "STALE"}, asleep_until_s=3.0)
    assert not judge_fault(OFF, too_late, delivered(OFF), LIMITS, 10.0).kept


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ({(2.9, 5.15): "STALE"}, "left out after 0.9"),
        ({}, "never cleared"),
        ({(2.3, 7.0): "STALE"}, "back 1.9"),
        ({(2.3, 10.0): "STALE"}, "did not return"),
    ],
)
def test_a_late_or_missing_change_is_caught(states, word):
    rows = statuses(states)
    s = summarise(predictions(rows), rows, [OFF], delivered(OFF), LIMITS, 10.0)
    assert not s.promises_kept and word in s.promises_broken[0]


def test_a_gap_between_predictions_is_caught():
    rows = statuses({(2.3, 5.15): "STALE"})
    s = summarise(predictions(rows, gap_at=40, gap_s=0.25), rows, [OFF], delivered(OFF), LIMITS, 10.0)
    assert s.max_gap_s == pytest.approx(0.35) and not s.promises_kept and "gap of 0.35" in s.promises_broken[0]


def test_overhead_and_numbers_that_are_not_finite_are_caught():
    rows = statuses({(2.3, 5.15): "STALE"})
    made = [replace(p, overhead_ms=30.0) for p in predictions(rows)]
    made[3] = replace(made[3], confidence=float("nan"))
    s = summarise(made, rows, [OFF], delivered(OFF), LIMITS, 10.0)
    assert any("an overhead of 30 ms" in b for b in s.promises_broken) and any("not finite" in b for b in s.promises_broken)


@pytest.mark.parametrize(("speed", "kept"), [(0.5, False), (1.0, False), (2.0, True)])
def test_no_overhead_is_promised_for_a_recording_that_is_played_faster(speed, kept):
    rows = statuses({(2.3, 5.15): "STALE"})
    made = [replace(p, overhead_ms=30.0) for p in predictions(rows)]
    assert summarise(made, rows, [OFF], delivered(OFF), replace(LIMITS, speed=speed), 10.0).promises_kept == kept


def test_no_predictions_is_a_broken_promise():
    s = summarise([], [], [], DeliveryLog(), LIMITS, 1.0)
    assert s.predictions == 0 and s.max_gap_s is None and s.promises_broken == ("no predictions came",)


def test_a_lost_message_shows_in_the_sequence():
    rows = statuses({})
    made = predictions(rows)
    del made[10]
    assert summarise(made, rows, [], delivered(OFF), LIMITS, 10.0).missed_sequences == 1


def test_a_fault_of_an_absent_sensor_is_noted():
    v = judge_fault(InjectedFault("lidar", "off", 1, 2), statuses({}), DeliveryLog({"camera": [0.0]}), LIMITS, 10.0)
    assert v.kept and "no such sensor" in v.note


def test_fault_that_begins_while_the_sensor_is_silent_anyway():
    v = judge_fault(OFF, statuses({(1.5, 5.15): "STALE"}), delivered(OFF), LIMITS, 10.0)
    assert v.kept and v.mask_clear_s == 0.0 and "already" in v.note


def test_recording_that_ends_before_the_return():
    fault = InjectedFault("camera", "off", 8.0, 9.95)
    v = judge_fault(fault, statuses({(8.3, 10.0): "STALE"}), delivered(fault), LIMITS, 10.0)
    assert v.kept and v.mask_return_s is None and "ends before" in v.note


def test_a_fault_after_the_end_of_the_recording_says_so_and_nothing_else():
    v = judge_fault(InjectedFault("camera", "off", 12.0, 15.0), statuses({}), delivered(OFF), LIMITS, 10.0)
    assert v.kept and v.describe() == "camera off 12-15 s: the recording ends before it begins"


def test_a_verdict_in_words_names_only_what_there_is():
    assert judge_fault(OFF, statuses({(2.3, 5.15): "STALE"}), delivered(OFF), LIMITS, 10.0).describe() == (
        "camera off 2-5 s: seen as STALE, left out after 0.3 s (limit 0.35 s), "
        "back 0.133 s after enough good messages (limit 0.15 s)"
    )
    never = judge_fault(OFF, statuses({}), delivered(OFF), LIMITS, 10.0)
    assert not never.kept and never.describe() == "camera off 2-5 s: never left out (limit 0.35 s); the mask never cleared"


def test_short_delay_need_not_clear_the_mask():
    fault = InjectedFault("camera", "delay", 2.0, 5.0, by_s=0.1)
    v = judge_fault(fault, statuses({}), delivered(fault), LIMITS, 10.0)
    assert v.kept and v.mask_clear_s is None and "max_latency_s" in v.note


@pytest.mark.parametrize("kind", ["slow", "intermittent"])
def test_thinned_stream_that_stays_within_the_timeout(kind):
    fault = InjectedFault("camera", kind, 2.0, 5.0)
    v = judge_fault(fault, statuses({}), delivered(fault), LIMITS, 10.0)
    assert v.kept and "within the timeout" in v.note


def test_late_messages_after_the_end_of_a_delay_do_not_count_as_good():
    """For 1.5 s after the fault, messages that it delayed arrive between the fresh ones, and the fuser refuses them."""
    fault = InjectedFault("camera", "delay", 2.0, 3.5, by_s=1.5)
    fresh = [i / 30 for i in range(300) if not 2.0 <= i / 30 < 3.5]
    late = [i / 30 + 1.5 for i in range(60, 105)]
    log = DeliveryLog({"camera": sorted(fresh + late)}, {"camera": fresh})
    v = judge_fault(fault, statuses({(2.25, 5.15): "LATE"}), log, LIMITS, 10.0)
    assert v.kept and v.mask_return_s is not None and v.mask_return_s < 0.2
    v = judge_fault(fault, statuses({(2.25, 5.75): "LATE"}), log, LIMITS, 10.0)
    assert not v.kept and v.mask_return_s > 0.5


def test_a_sensor_that_never_had_good_messages_in_a_row_is_promised_nothing():
    log = delivered(OFF)
    sound = [t for i, t in enumerate(log.all_s["camera"]) if i % 3]  # every third one is refused
    v = judge_fault(OFF, statuses({(0, 10): "INVALID"}), DeliveryLog(log.all_s, {"camera": sound}), LIMITS, 10.0)
    assert v.kept and "never has 3 good messages in a row" in v.note
    # Its stamps are good, but it was never OK, for a reason that lies in the payload.
    v = judge_fault(OFF, statuses({(0, 10): "INVALID"}), log, LIMITS, 10.0)
    assert v.kept and "not OK before the fault either" in v.note


def test_what_the_recorded_messages_prevent_is_not_held_against_the_fuser():
    rows = statuses({(2.3, 10.0): "STALE"})
    v = judge_fault(OFF, rows, delivered(OFF), LIMITS, 10.0, lambda sensor, from_s: (None, "payload BLACK"))
    assert v.kept and "payload BLACK" in v.note
    v = judge_fault(OFF, rows, delivered(OFF), LIMITS, 10.0, lambda sensor, from_s: (from_s + 0.1, ""))
    assert not v.kept and "did not return" in v.note
    rows = statuses({(2.3, 8.0): "STALE"})
    v = judge_fault(OFF, rows, delivered(OFF), LIMITS, 10.0, lambda sensor, from_s: (7.95, ""))
    assert v.kept and v.mask_return_s == pytest.approx(0.05) and "recorded messages are good" in v.note
    v = judge_fault(OFF, rows, delivered(OFF), LIMITS, 10.0, lambda sensor, from_s: (6.0, ""))
    assert not v.kept and v.mask_return_s == pytest.approx(2.0)


def test_no_valid_prediction_is_a_broken_promise_that_says_why():
    rows = [StatusRow(0.1 * i, {"camera": SensorStatus("INVALID", 30.0, f"stamp is zero, {i} bad in a row")}) for i in range(20)]
    s = summarise(predictions(rows), rows, [], delivered(OFF), LIMITS, 2.0)
    assert s.valid_predictions == 0 and s.never_ok == {"camera": "INVALID (stamp is zero, 19 bad in a row)"}
    assert s.promises_broken == ("no valid prediction: camera INVALID (stamp is zero, 19 bad in a row)",)


LIE = InjectedFault("camera", "lie", 2.0, 5.0)


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        ({(3.9, 6.9): "IMPLAUSIBLE"}, True),
        ({(4.4, 6.0): "IMPLAUSIBLE"}, False),  # noticed later than 2 s after its beginning
        ({(3.0, 9.0): "IMPLAUSIBLE"}, False),  # believed later than 2 s after its end
        ({}, True),  # a model that does not know the lie promises nothing
    ],
)
def test_a_lie_is_noticed_and_forgiven_within_two_seconds(states, kept):
    v = judge_fault(LIE, statuses(states), delivered(LIE), LIMITS, 10.0)
    assert v.kept is kept, v
    assert ("not noticed" in v.note) is (states == {})


def test_no_return_is_promised_while_the_data_say_nothing_of_the_lie():
    """Exchanged or not, the colours of grey asphalt look alike."""
    rows = statuses({(3.0, 9.0): "IMPLAUSIBLE"})
    grey = SensorStatus("IMPLAUSIBLE", 30.0, f"red over green 0.7; {UNDECIDED}", False)
    rows = [replace(row, states={"camera": grey}) if 6.0 <= row.t_s < 9.0 else row for row in rows]
    v = judge_fault(LIE, rows, delivered(LIE), LIMITS, 10.0)
    assert v.kept and v.mask_return_s > v.return_limit_s and "said nothing of the lie" in v.note


def test_a_sensor_that_was_implausible_before_the_fault_need_not_return():
    """The recording is unlike what the model was trained on, which is not the fuser's doing."""
    delay = InjectedFault("camera", "delay", 2.0, 5.0, by_s=1.5)
    v = judge_fault(
        delay,
        statuses({(1.3, 2.3): "IMPLAUSIBLE", (2.3, 5.2): "STALE", (5.9, 10.0): "IMPLAUSIBLE"}),
        delivered(delay),
        LIMITS,
        10.0,
    )
    assert v.kept and v.mask_return_s is None and "implausible before the fault too" in v.note
    v = judge_fault(delay, statuses({(2.3, 9.0): "STALE"}), delivered(delay), LIMITS, 10.0)
    assert not v.kept


def test_a_sensor_whose_damaged_data_were_implausible_may_take_as_long():
    fault = InjectedFault("camera", "corrupt", 2.0, 5.0)
    assert judge_fault(fault, statuses({(3.0, 6.8): "IMPLAUSIBLE"}), delivered(fault), LIMITS, 10.0).kept
    assert not judge_fault(fault, statuses({(3.0, 6.8): "INVALID"}), delivered(fault), LIMITS, 10.0).kept


def test_data_of_the_fault_may_be_found_implausible_just_after_its_end():
    """What is judged is up to a second of data."""
    fault = InjectedFault("camera", "corrupt", 2.0, 5.0)
    found_late = {(4.9, 5.1): "RECOVERING", (5.1, 6.2): "IMPLAUSIBLE"}
    assert judge_fault(fault, statuses(found_late), delivered(fault), LIMITS, 10.0).kept
    stuck = {(4.9, 6.2): "RECOVERING"}
    assert not judge_fault(fault, statuses(stuck), delivered(fault), LIMITS, 10.0).kept


@pytest.mark.parametrize(("to_s", "seen_as"), [(5.01, ("FROZEN",)), (5.09, ("FROZEN", "RECOVERING"))])
def test_what_a_tick_saw_of_the_messages_after_a_fault_is_not_counted_as_its_state(to_s, seen_as):
    """The clock of a replay is some milliseconds behind its messages."""
    fault = InjectedFault("camera", "freeze", 2.0, to_s)
    v = judge_fault(fault, statuses({(2.5, 4.95): "FROZEN", (4.95, 5.05): "RECOVERING"}), delivered(fault), LIMITS, 10.0)
    assert v.seen_as == seen_as


def test_a_node_that_falls_silent_before_the_end_is_caught():
    rows = statuses({})
    made = predictions(rows)[:40]
    s = summarise(made, rows, [], delivered(OFF), LIMITS, 10.0, end_wall_s=10.0)
    assert s.max_gap_s == pytest.approx(6.0) and "a gap of 6 s" in s.promises_broken[0]
    s = summarise(made[:1], rows, [], delivered(OFF), LIMITS, 10.0, end_wall_s=10.0)
    assert s.max_gap_s == pytest.approx(9.9) and not s.promises_kept
    assert summarise(predictions(rows), rows, [], delivered(OFF), LIMITS, 10.0, end_wall_s=10.1).promises_kept


@pytest.mark.parametrize(
    ("speed", "gap_s", "kept"), [(0.5, 0.35, True), (0.5, 0.45, False), (4.0, 0.15, True), (4.0, 0.25, False)]
)
def test_a_slow_playback_stretches_the_pauses_on_the_wall_clock(speed, gap_s, kept):
    rows = statuses({})
    made = [replace(p, wall_s=gap_s * i) for i, p in enumerate(predictions(rows))]
    assert summarise(made, rows, [], delivered(OFF), replace(LIMITS, speed=speed), 10.0).promises_kept == kept


def test_an_overhead_that_is_not_finite_is_caught():
    rows = statuses({})
    made = predictions(rows)
    made[3] = replace(made[3], overhead_ms=float("nan"))
    assert "not finite" in summarise(made, rows, [], delivered(OFF), LIMITS, 10.0).promises_broken[0]


def test_the_rate_is_that_of_the_periods_between_predictions():
    rows = statuses({}, end_s=0.3)
    assert summarise(predictions(rows), rows, [], delivered(OFF), LIMITS, 0.3).rate_hz == 10.0
