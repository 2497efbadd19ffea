"""A plan that holds its pictures: one window of a camera or LiDAR serves several predictions, and in between its topic rests."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cdr_messages import image, raw
from test_rest import PolledRobot
from virtual_robot import ALL, Robot, thrifty_engine, tiny_engine

from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.nodes.messages import mask_message, pruning_message
from sentryfuse_ros.pruning.cost import picture_flops
from sentryfuse_ros.pruning.planner import PlanChoice
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.sensing.held_pictures import HeldPictures
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.sensing.rest import LONGEST_REST_S

HOLD_S = 0.5
WITHOUT_CAMERA = (False, True, True, True)


@pytest.fixture(scope="module")
def engine():
    """At a ratio of 0.9 it uses all sensors, and a picture serves for half a second."""
    plain = tiny_engine()
    planned = Engine(plain.checkpoint, plain.backend)
    config = plain.checkpoint.config
    planned.choose(
        {(mask, 0.9): PlanChoice(whole_stems(config, mask, 0.9), 1.0, 0.8, HOLD_S, 5) for mask in (ALL, WITHOUT_CAMERA)}
    )
    return planned


@pytest.fixture
def holding(engine):
    robot = PolledRobot(engine, dwell_s=0.0)
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(2.0)
    return robot


def changes(predictions, name):
    """At which predictions the input differs from that of the one before."""
    windows = [p.tick.inputs[name] for p in predictions]
    return [i for i in range(1, len(windows)) if not np.array_equal(windows[i], windows[i - 1])]


def test_a_picture_serves_for_as_long_as_the_plan_says_and_the_rest_is_new(holding):
    predictions = holding.run(3.0)
    for name in ("camera", "lidar"):
        renewed = changes(predictions, name)
        assert np.diff(renewed).tolist() == [5] * (len(renewed) - 1) and 5 <= len(renewed) <= 6
    assert len(changes(predictions, "imu")) == len(predictions) - 1
    assert not set(changes(predictions, "camera")) & set(changes(predictions, "lidar"))  # no prediction pays for both
    whole = replace(holding.engine.choice(ALL, 0.9), hold_s=0.0, shared_by=1)
    stems = picture_flops(holding.engine.checkpoint.config, whole.part)
    assert {p.inference.flops for p in predictions} == {holding.engine.flops(whole) - round(stems * 4 / 5)}
    assert all(p.valid and p.tick.mask.all() and p.inference.used.all() for p in predictions)


def test_what_is_taken_anew_is_the_newest_picture(engine):
    twins = [PolledRobot(engine, dwell_s=0.0) for _ in range(2)]
    for robot, ratio in zip(twins, (0.9, 0.0)):
        robot.run(2.0)
        robot.pipeline.override(ratio)
    held, fresh = (robot.run(3.0) for robot in twins)
    for i in changes(held, "lidar"):
        assert np.array_equal(held[i].tick.inputs["lidar"], fresh[i].tick.inputs["lidar"])
    for i in changes(held, "camera")[1:]:
        assert np.array_equal(held[i].tick.inputs["camera"][-1], fresh[i].tick.inputs["camera"][-1])


def test_in_between_its_topic_is_left_alone(holding):
    before = holding.pipeline.sensors
    taken, looks = holding.count(4.0)
    after = holding.pipeline.sensors
    assert looks["lidar"] <= 9 and taken["lidar"] <= 18  # once in half a second, two messages each
    assert taken["imu"] == 400 and abs(taken["audio"] - 200) <= 10
    # The four slots of the camera's window are shorter than half a second: each needs a picture of its own.
    assert looks["camera"] == 4 * 10 * 3 and taken["camera"] == 80
    assert after["lidar"].held and not after["lidar"].asleep and not after["camera"].held
    for name in ("camera", "lidar"):
        status = after[name].status
        assert status.state == State.OK and status.dropped == before[name].status.dropped == 0
        assert status.rate_hz == pytest.approx(holding.rates[name], rel=0.1)


def test_with_the_ratio_gone_every_prediction_has_the_newest_picture_again(holding):
    holding.pipeline.override(None)
    predictions = holding.run(1.0)
    for name in ("camera", "lidar"):
        assert changes(predictions, name) == list(range(1, 10))
    assert not any(view.held or view.skips_messages for view in holding.pipeline.sensors.values())


@pytest.mark.parametrize("phase", range(5))
def test_a_lidar_that_falls_silent_is_noticed_at_most_one_rest_later(engine, phase):
    found = []
    for ratio in (0.9, 0.0):
        robot = PolledRobot(engine, dwell_s=0.0)
        robot.run(2.0)
        robot.pipeline.override(ratio)
        robot.run(2.0 + 0.1 * phase)
        robot.off.add("lidar")
        states = [p.tick.statuses["lidar"].state for p in robot.run(2.0)]
        found.append(states.index(State.STALE))
    assert found[1] <= found[0] <= found[1] + round(LONGEST_REST_S * 10)


def test_a_camera_that_comes_back_brings_a_new_picture_at_once(holding):
    old = holding.step().tick.inputs["camera"]
    holding.off.add("camera")
    assert not holding.run(1.0)[-1].tick.mask[0]
    holding.off.clear()
    first = next(p for p in (holding.step() for _ in range(20)) if p.tick.mask[0])
    stamps, _ = holding.pipeline.robot_sensors._sensors["camera"].buffer.window(first.tick.snapshot.end_ns)
    assert not np.array_equal(first.tick.inputs["camera"], old) and stamps[-1] > first.tick.node_ns - NS // 5


def test_a_frozen_camera_is_not_held_beyond_what_liveness_says(engine):
    robot = Robot(engine, dwell_s=0.0)
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(1.0)
    robot.make["camera"] = lambda stamp: raw(image(np.full((24, 32), 1500, np.uint16), "16UC1", stamp_ns=stamp))
    last = robot.run(2.0)[-1]
    assert last.tick.statuses["camera"].state == State.FROZEN and not last.tick.mask[0] and "camera" not in last.tick.inputs


def test_after_a_jump_of_the_clock_nothing_is_held(engine):
    robot = Robot(engine, dwell_s=0.0)
    robot.run(2.0)
    robot.pipeline.override(0.9)
    before = robot.run(1.0)[-1].tick.inputs["lidar"]
    robot.now_ns -= 60 * NS
    after = next(p for p in robot.run(2.0) if p.tick.mask.all())
    assert not np.array_equal(after.tick.inputs["lidar"], before)


def test_a_snapshot_that_must_make_no_rows_keeps_the_old_window(engine):
    robot = Robot(engine, dwell_s=0.0)
    robot.run(2.0)
    robot.pipeline.override(0.9)
    old = robot.run(1.0)[-1].tick.inputs
    for _ in range(6):
        robot.now_ns += NS // 10
        tick = robot.pipeline.snapshot(robot.now_ns, robot.now_ns, make_rows=False)
        if not tick.mask.all():
            break
        assert all(tick.inputs[name] is old[name] for name in ("camera", "lidar"))


def test_a_snapshot_that_must_make_no_rows_takes_no_window_from_before_its_source_slept():
    plain = tiny_engine()
    engine, config = Engine(plain.checkpoint, plain.backend), plain.checkpoint.config
    no_lidar = (True, True, True, False)
    plans = {0.5: whole_stems(config, no_lidar, 0.5), 0.9: whole_stems(config, ALL, 0.9)}
    engine.choose({(ALL, ratio): PlanChoice(part, 1.0, 0.8, HOLD_S, 5) for ratio, part in plans.items()})
    robot = PolledRobot(engine, dwell_s=0.0)
    robot.run(2.0)
    robot.pipeline.override(0.9)
    old = robot.run(2.0)[-1].tick.inputs["lidar"]
    robot.pipeline.override(0.5)
    assert "lidar" not in robot.run(10.0)[-1].tick.inputs
    robot.pipeline.override(0.9)
    tick = robot.pipeline.snapshot(robot.now_ns, robot.now_ns, make_rows=False)
    assert tick.used == ALL and not np.array_equal(tick.inputs["lidar"], old)


def test_a_plan_that_leaves_pictures_out_holds_none(engine):
    robot = Robot(thrifty_engine(tiny_engine()), dwell_s=0.0)
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(1.0)
    assert not any(view.held for view in robot.pipeline.sensors.values())


@pytest.mark.parametrize("hold_s", [0.2, 0.5, 0.7])
def test_windows_become_due_once_in_the_time_and_not_all_at_once(hold_s):
    held, ticks = HeldPictures(4), np.arange(0, 21 * NS, NS // 10)
    due_ns = np.array([[held.until_ns(place, int(t), hold_s) for t in ticks] for place in range(4)])
    assert (due_ns > ticks).all() and (due_ns - ticks <= hold_s * NS).all()
    renewed = np.diff(due_ns, axis=1) > 0
    assert abs(renewed.sum(1) - 20.9 / hold_s).max() <= 1
    if hold_s == 0.5:
        assert renewed.sum(0).max() == 1


@pytest.mark.parametrize("phase_ms", range(0, 100, 10))
@pytest.mark.parametrize("jitter_ms", [0, 4])
def test_a_topic_is_looked_at_once_for_each_new_picture_whenever_the_ticks_are(engine, phase_ms, jitter_ms):
    robot = PolledRobot(engine, dwell_s=0.0)
    robot.now_ns += phase_ms * NS // 1000
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(2.0)
    robot.count(0)
    predictions = []
    for late_ms in np.random.default_rng(phase_ms).integers(-jitter_ms, jitter_ms + 1, 40).tolist():
        robot.now_ns += late_ms * NS // 1000
        predictions.append(robot.step())
        robot.now_ns -= late_ms * NS // 1000
    renewed = len(changes(predictions, "lidar"))
    assert 7 <= renewed <= 8
    # One more where ticks waver around the moment at which a picture becomes due: none rests for longer than half a second.
    assert robot.looks["lidar"] <= renewed + (3 if jitter_ms else 1)
    ages_ns = [p.tick.node_ns - p.tick.snapshot.windows["lidar"][0][-1] for p in predictions]
    assert max(ages_ns) <= 0.65 * NS


@pytest.mark.parametrize("phase_ms", (0, 30, 70))
def test_no_picture_serves_for_longer_where_ticks_are_late(engine, phase_ms):
    """A tick that comes when the next window is already due wakes a source that rests, and takes no window of its old rows:
    those that it has serve once more, without being encoded again."""
    robot = PolledRobot(engine, dwell_s=0.0)
    robot.now_ns += phase_ms * NS // 1000
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(2.0)
    ages_ns, windows = [], []
    for late in np.random.default_rng(phase_ms).random(40) < 0.2:
        robot.now_ns += 40 * int(late) * NS // 1000
        prediction = robot.step()
        robot.now_ns -= 40 * int(late) * NS // 1000
        held = robot.pipeline.robot_sensors._held._windows
        ages_ns += [prediction.tick.node_ns - window.newest_ns for window in held if window is not None]
        windows.append(prediction.tick.inputs)
    # The engine encodes a window anew where it is another array: none that has the pictures of the one before.
    for name in ("camera", "lidar"):
        pairs = [(a[name], b[name]) for a, b in itertools.pairwise(windows)]
        assert not any(a is not b and np.array_equal(a, b) for a, b in pairs) and any(a is not b for a, b in pairs)
    assert ages_ns and max(ages_ns) <= 0.7 * NS


def test_messages_say_what_is_held_and_for_how_long(holding):
    prediction = holding.step()
    statuses = {s.name: s for s in mask_message(holding.pipeline, prediction.tick, {}, "base").sensors}
    assert statuses["lidar"].held and not statuses["lidar"].asleep and not statuses["imu"].held
    assert pruning_message(prediction, holding.engine, prediction.inference, 1.0).hold_s == HOLD_S
    holding.pipeline.override(None)
    whole = holding.step()
    assert not any(s.held for s in mask_message(holding.pipeline, whole.tick, {}, "base").sensors)
    assert pruning_message(whole, holding.engine, whole.inference, 1.0).hold_s == 0


def test_a_picture_of_a_source_that_was_not_used_before_serves_from_the_first_prediction_on():
    plain = tiny_engine()
    engine, config = Engine(plain.checkpoint, plain.backend), plain.checkpoint.config
    no_lidar = (True, True, True, False)
    engine.choose(
        {
            (ALL, 0.5): PlanChoice(whole_stems(config, no_lidar, 0.5), 1.0, 0.8),
            (ALL, 0.9): PlanChoice(whole_stems(config, ALL, 0.9), 1.0, 0.8, HOLD_S, 5),
        }
    )
    robot = PolledRobot(engine, dwell_s=0.0)
    robot.run(2.0)
    robot.pipeline.override(0.5)
    assert "lidar" not in robot.run(2.0)[-1].tick.inputs and robot.pipeline.sensors["lidar"].asleep
    robot.pipeline.override(0.9)
    first = robot.step().tick
    held = robot.pipeline.robot_sensors._held._windows[3]
    assert held.x is first.inputs["lidar"] and held.newest_ns >= first.node_ns - NS // 10
    ticks = [p.tick for p in robot.run(HOLD_S)]
    served = [tick.inputs["lidar"] is held.x for tick in ticks if tick.node_ns < held.until_ns]
    assert served and all(served)
