"""The fuser without ROS: serialised messages go in, predictions come out, and the clock is virtual."""

import threading

import numpy as np
import pytest
from cdr_messages import cloud, deserializer, image, imu, raw
from virtual_robot import CLOUD, T0, Robot, thrifty_engine, tiny_engine, tiny_network

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.settings import build_settings


@pytest.fixture(scope="module")
def engine():
    return tiny_engine()


@pytest.fixture
def robot(engine):
    return Robot(engine, dwell_s=0.0)


def test_four_sensors_make_a_prediction(robot):
    last = robot.run(1.0)[-1]
    assert last.valid and last.tick.mask.tolist() == [True] * 4 and last.tick.serving == ("camera", "imu", "audio", "lidar")
    assert last.inference.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert robot.now_ns - NS // 100 <= last.stamp_ns < robot.now_ns  # the newest IMU sample


def test_before_the_first_message_the_prediction_says_so(robot):
    prediction = robot.pipeline.tick(T0)
    assert not prediction.valid and prediction.inference is None
    assert prediction.reason == "no live sensor: camera NEVER_SEEN, imu NEVER_SEEN, audio NEVER_SEEN, lidar NEVER_SEEN"


def test_a_network_that_overflows_makes_predictions_that_are_not_valid_and_say_why():
    network = tiny_network()
    network.readout.classify.weight.fill_(3e38)
    last = Robot(Engine.from_model(network)).run(1.0)[-1]
    assert not last.valid and last.inference is None and last.tick.mask.all()
    assert last.reason == "the model gave numbers that are not finite"


@pytest.mark.parametrize("lost", ["camera", "imu", "audio", "lidar"])
def test_a_lost_sensor_leaves_the_mask_and_comes_back(robot, lost):
    robot.run(1.0)
    robot.off.add(lost)
    index = robot.engine.modalities.index(lost)
    masks = [p.tick.mask[index] for p in robot.run(1.0)]
    assert not masks[-1] and masks.index(False) <= 5  # timeout of a 10 Hz LiDAR is 0.3 s
    assert all(p.valid for p in robot.run(0.5))
    robot.off.clear()
    assert robot.run(1.0)[-1].tick.mask.all()


def test_without_any_sensor_no_old_answer_is_repeated(robot):
    robot.run(1.0)
    robot.off = set(robot.rates)
    late = robot.run(2.0)[5:]
    assert not any(p.valid for p in late) and all(p.inference is None for p in late)
    assert len({p.tick.sequence for p in late}) == len(late)


def test_frozen_camera_leaves_the_mask_and_its_frames_leave_the_window(robot):
    robot.run(1.0)
    frame = robot.random.integers(1000, 3000, (24, 32)).astype(np.uint16)
    robot.make["camera"] = lambda stamp: raw(image(frame, "16UC1", stamp_ns=stamp))
    assert [p.tick.statuses["camera"].state for p in robot.run(1.0)][-1] == State.FROZEN
    assert robot.pipeline.robot_sensors.view("camera").buffered_rows == 0
    robot.make["camera"] = robot.camera
    assert robot.run(0.5)[-1].tick.mask.all()


def test_garbage_is_counted_and_the_rest_goes_on(robot):
    robot.run(1.0)
    robot.make["lidar"] = lambda stamp: b"\x00\x01\x00\x00garbage"
    last = robot.run(1.0)[-1]
    assert last.valid and last.tick.mask.tolist() == [True, True, True, False]
    status = last.tick.statuses["lidar"]
    assert status.state == State.INVALID and status.invalid == 10
    assert status.reason.startswith("payload MALFORMED") and "PointCloud2" in status.reason


def test_zero_stamps_are_invalid_unless_arrival_times_are_used(engine):
    strict = Robot(engine)
    strict.make["camera"] = lambda stamp: Robot.camera(strict, 0)
    strict.make["imu"] = lambda stamp: Robot.imu(strict, stamp - 7200 * NS)
    statuses = strict.run(1.0)[-1].tick.statuses
    assert (statuses["camera"].state, statuses["imu"].state) == (State.INVALID, State.LATE)
    for name, words in (("camera", "stamp is zero"), ("imu", "latency 7200")):  # the remedy names the sensor's own parameter
        assert words in statuses[name].reason and f"set {name}.trust_stamps: false" in statuses[name].reason
        assert "use_sim_time" not in statuses[name].reason  # which this robot follows: its two clocks are one
    lenient = Robot(engine, **{"camera.trust_stamps": False, "audio.trust_stamps": False})
    lenient.make["camera"] = lambda stamp: Robot.camera(lenient, 0)
    lenient.make["audio"] = lambda stamp: Robot.audio(lenient, 5)  # 1970
    last = lenient.run(1.0)[-1]
    assert last.tick.mask.all()
    stamps, _ = last.tick.snapshot.windows["camera"]
    assert len(stamps) >= 10 and abs(int(stamps[-1]) - lenient.now_ns) < NS // 10


def test_ratio_follows_the_battery_and_the_dense_answers_return_exactly(robot):
    dense = robot.run(1.0)[-1]
    inputs, mask = dense.tick.inputs, dense.tick.mask
    robot.pipeline.battery(0.12, False, robot.now_ns)
    low = robot.step()
    assert low.tick.power.ratio >= 0.8 and low.inference.flops < dense.inference.flops
    robot.pipeline.battery(1.0, False, robot.now_ns)
    assert robot.step().tick.power.ratio == 0
    again = robot.engine.infer(inputs, mask, 0.0)
    assert np.array_equal(again.probabilities, dense.inference.probabilities)


@pytest.fixture
def thrifty(engine):
    """A robot that at a ratio of 0.9 runs on the IMU alone, or without it on camera and LiDAR."""
    return Robot(thrifty_engine(engine), dwell_s=0.0)


def test_sensors_that_a_plan_leaves_out_sleep_but_stay_live(thrifty):
    thrifty.run(2.0)
    assert not any(view.asleep for view in thrifty.pipeline.sensors.values())
    thrifty.pipeline.override(0.9)
    before = thrifty.pipeline.robot_sensors.view("camera").status.received
    last = thrifty.run(3.0)[-1]
    assert last.valid and last.tick.mask.all() and last.inference.used.tolist() == [False, True, False, False]
    assert set(last.tick.inputs) == {"imu"} and last.tick.used == (False, True, False, False)
    views = thrifty.pipeline.sensors
    assert [name for name, view in views.items() if view.asleep] == ["camera", "audio", "lidar"]
    assert all(view.status.live for view in views.values())
    assert views["camera"].status.received == before + 60 and views["camera"].status.dropped == 0
    assert views["camera"].status.rate_hz == pytest.approx(20, rel=0.1)
    stamps, _ = thrifty.pipeline.robot_sensors._sensors["camera"].buffer.window(thrifty.now_ns)
    assert 3 <= len(stamps) <= 7  # of 20 in a second, as many as the window has slots, give or take a poll's
    assert last.stamp_ns >= thrifty.now_ns - NS // 100  # that of the IMU's newest sample


def test_sleeping_sensors_wake_whole_in_the_tick_in_which_they_are_needed(thrifty):
    thrifty.run(2.0)
    thrifty.pipeline.override(0.9)
    thrifty.run(3.0)
    thrifty.off.add("imu")
    predictions = thrifty.run(1.0)
    assert all(p.valid for p in predictions)
    first = next(p for p in predictions if not p.tick.mask[1])
    assert first.inference.used.tolist() == [True, False, False, True]
    frames = first.tick.inputs["camera"]
    assert frames.any(axis=(1, 2, 3)).all()  # no empty slot
    thrifty.off.clear()
    thrifty.pipeline.override(None)
    assert thrifty.run(1.5)[-1].inference.used.all()
    assert not any(view.asleep for view in thrifty.pipeline.sensors.values())


@pytest.mark.parametrize("fault", ["stuck", "silent", "black"])
def test_liveness_of_a_sleeping_camera_notices_as_soon_as_that_of_one_awake(engine, thrifty, fault):
    states = []
    for robot, ratio in ((thrifty, 0.9), (Robot(thrifty.engine, dwell_s=0.0), 0.0)):
        robot.run(2.0)
        robot.pipeline.override(ratio)
        robot.run(2.0)
        assert robot.pipeline.robot_sensors.view("camera").asleep == bool(ratio)
        same = np.full((24, 32), 1500, np.uint16)
        black = np.zeros((24, 32), np.uint16)
        if fault == "silent":
            robot.off.add("camera")
        else:
            pixels = same if fault == "stuck" else black
            robot.make["camera"] = lambda stamp, pixels=pixels: raw(image(pixels, "16UC1", stamp_ns=stamp))
        states.append([p.tick.statuses["camera"].state for p in robot.run(2.0)])
    assert states[0] == states[1] and states[0][-1] != State.OK


def test_latency_target_raises_the_ratio(engine):
    robot = Robot(engine, latency_target_ms=1e-6, dwell_s=0.0)
    assert robot.run(2.0)[-1].tick.power.ratio > 0


def test_backward_jump_resets_and_goes_on(robot):
    robot.run(1.0)
    robot.now_ns = T0 - 100 * NS
    after = robot.run(1.0)
    assert robot.pipeline.resets == 1 and not after[0].tick.mask.all()
    assert after[-1].tick.mask.all() and after[-1].stamp_ns < T0


def test_reset_changes_no_answer_of_the_model(robot):
    last = robot.run(1.0)[-1]
    robot.pipeline.reset()
    again = robot.engine.infer(last.tick.inputs, last.tick.mask, 0.2)
    robot.pipeline.reset()
    np.testing.assert_array_equal(robot.engine.infer(last.tick.inputs, last.tick.mask, 0.2).probabilities, again.probabilities)


def test_budget_and_override_set_the_ratio_and_can_be_taken_back(robot):
    robot.run(1.0)
    robot.pipeline.budget(0.0)
    assert robot.step().tick.power.ratio == 0.9
    robot.pipeline.override(0.5)
    assert robot.step().tick.power.ratio == 0.5 and robot.pipeline.power.overridden
    robot.pipeline.override(-1.0)  # as parameter pruning_ratio_override says "none"
    assert robot.step().tick.power.ratio == 0.9
    robot.pipeline.budget(float("nan"))
    assert robot.step().tick.power.ratio == 0
    with pytest.raises(ParameterError, match="pruning_ratio_override"):
        robot.pipeline.override(0.95)


def test_thresholds_can_change_while_it_runs(robot):
    robot.run(1.0)
    robot.pipeline.configure(dwell_s=100.0, battery_timeout_s=0.05)
    robot.pipeline.battery(0.3, False, robot.now_ns)
    last = robot.step().tick.power
    assert last.ratio == 0 and "by dwell" in last.reason and "battery silent" in last.reason
    robot.pipeline.configure(dwell_s=0.0)
    assert robot.step().tick.power.ratio == 0.6 and "battery silent" in robot.pipeline.power.trouble
    with pytest.raises(ParameterError, match="dwell_s"):
        robot.pipeline.configure(dwell_s=-1.0)


def test_restart_counts_ticks_anew(robot):
    assert robot.run(1.0)[-1].tick.sequence == 10
    robot.pipeline.restart()
    assert robot.step().tick.sequence == 1


def test_spare_camera_takes_over(engine):
    robot = Robot(engine, sensors=["camera", "spare_camera", "imu"], **{"spare_camera.model_input": "camera"})
    robot.rates["spare_camera"], robot.make["spare_camera"] = 20, robot.camera
    assert robot.run(1.0)[-1].tick.serving == ("camera", "imu", "", "")
    robot.off.add("camera")
    assert robot.run(1.0)[-1].tick.serving == ("spare_camera", "imu", "", "")
    robot.off.add("spare_camera")
    robot.off.add("imu")
    assert "audio: no sensor is configured for it" in robot.run(1.0)[-1].reason


def test_watched_sensor_has_a_status_and_no_buffer(engine):
    robot = Robot(engine, sensors=["camera", "imu", "wrist_imu"])
    robot.rates["wrist_imu"], robot.make["wrist_imu"] = 100, robot.imu
    last = robot.run(1.0)[-1]
    view = robot.pipeline.robot_sensors.view("wrist_imu")
    assert last.tick.statuses["wrist_imu"].state == State.OK == view.status.state
    assert not view.serves_model and view.buffered_rows == 0


def test_a_sample_is_expected_where_one_is_due_within_the_wait_or_a_little_overdue(engine):
    robot = Robot(engine, sensors=["lidar"])
    robot.rates["lidar"] = 10
    robot.run(1.0)
    sensors = robot.pipeline.robot_sensors
    last_ns = sensors._sensors["lidar"].last_arrival_ns
    expected = {ms: sensors.sample_expected(last_ns + ms * NS // 1000, 0.004) for ms in (0, 50, 95, 97, 120, 160, 1000)}
    assert expected == {0: False, 50: False, 95: False, 97: True, 120: True, 160: False, 1000: False}


def test_sensor_of_the_wrong_kind_for_its_input_is_refused(engine):
    with pytest.raises(ParameterError, match="model input 'camera'.*sensor of kind lidar"):
        Pipeline(build_settings({"sensors": ["lidar"], "lidar.model_input": "camera"}), engine)


def test_curve_of_unequal_lengths_is_refused(engine):
    with pytest.raises(ParameterError, match="battery_curve_ratio.*2 values.*4"):
        Pipeline(build_settings({"battery_curve_ratio": [0.5, 0.1]}), engine)


def test_rows_from_the_future_do_not_empty_the_window(engine):
    robot = Robot(engine)
    robot.run(2)
    camera = robot.make["camera"]
    robot.make["camera"] = lambda stamp: camera(stamp + 10 * NS)
    robot.step()
    robot.make["camera"] = camera
    for prediction in robot.run(2):
        tick = prediction.tick
        assert [tick.statuses[name].live for name in engine.modalities] == tick.mask.tolist()
    assert tick.mask.all()


def test_a_live_sensor_without_rows_in_the_window_says_so(engine):
    """A camera that is late, but not too late to be believed, while the IMU is not."""
    robot = Robot(engine, **{"camera.max_latency_s": 5.0, "camera.backward_tolerance_s": 5.0})
    camera = robot.make["camera"]
    robot.make["camera"] = lambda stamp: camera(stamp - 2 * NS)  # its window is 1 s long
    tick = robot.run(2)[-1].tick
    status = tick.statuses["camera"]
    assert not tick.mask[0] and status.state == State.LATE and "window of 1 s" in status.reason


def test_state_and_mask_agree_for_a_scan_below_the_model(engine):
    robot = Robot(engine)
    robot.make["lidar"] = lambda stamp: raw(
        cloud(CLOUD, {k: robot.random.normal(0, 5, 200).astype(np.float32) - 1000 * (k == "z") for k in "xyz"}, stamp_ns=stamp)
    )
    tick = robot.run(2)[-1].tick
    assert not tick.mask[3] and tick.statuses["lidar"].state == State.INVALID and "EMPTY" in tick.statuses["lidar"].reason


def test_a_tick_does_not_wait_for_a_message_that_is_being_read(engine):
    """The message is big-endian, so it goes to the deserialiser, which takes as long as the test wants."""
    reading, go_on, read = threading.Event(), threading.Event(), deserializer("sensor_msgs/msg/Imu")

    def slow(data):
        reading.set()
        assert go_on.wait(180)
        return read(data)

    robot = Robot(engine)
    robot.pipeline = Pipeline(build_settings({}), engine, {"sensor_msgs/msg/Imu": slow})
    robot.run(1.0)
    now = robot.now_ns
    message = raw(imu((0, 0, 0.1), (0, 0, 9.8), stamp_ns=now), little_endian=False)
    reader = threading.Thread(target=robot.pipeline.feed, args=("imu", [message], np.array([now]), now, now))
    reader.start()
    try:
        assert reading.wait(180)
        tick = robot.pipeline.snapshot(now, now, make_rows=False)
        assert reader.is_alive() and tick.mask.all() and robot.pipeline.infer(tick).valid
        received = tick.statuses["imu"].received
    finally:
        go_on.set()
        reader.join(180)
    assert robot.pipeline.snapshot(now, now).statuses["imu"].received == received + 1


def test_a_tick_that_is_overtaken_while_it_makes_rows_is_of_no_earlier_moment(engine):
    """The row of the newest picture takes as long as the test wants; meanwhile another thread takes the next tick."""
    making, go_on, slow_now, read = threading.Event(), threading.Event(), threading.Event(), deserializer("sensor_msgs/msg/Image")

    def slow(data):
        if slow_now.is_set():
            making.set()
            assert go_on.wait(180)
        return read(data)

    robot = Robot(engine)
    robot.pipeline = Pipeline(build_settings({}), engine, {"sensor_msgs/msg/Image": slow})
    robot.run(1.0)
    now, later = robot.now_ns, robot.now_ns + NS // 25
    sent = now - NS // 50  # so soon after the picture before it that no row is made of it until a window needs one
    pixels = robot.random.integers(0, 255, (24, 32, 3), np.uint8)
    message = raw(image(pixels, "rgb8", stamp_ns=sent), little_endian=False)
    robot.pipeline.feed("camera", [message], np.array([sent]), now, now, more_wait=True)
    slow_now.set()
    ticks = []
    first = threading.Thread(target=lambda: ticks.append(robot.pipeline.snapshot(now, now)))
    first.start()
    try:
        assert making.wait(180)
        ticks.append(robot.pipeline.snapshot(later, later, make_rows=False))
    finally:
        go_on.set()
        first.join(180)
    overtaking, overtaken = ticks
    assert (overtaking.sequence + 1, later) == (overtaken.sequence, overtaken.node_ns)
    assert overtaking.node_ns == later and overtaken.mask.all()
    robot.pipeline.reset()  # a clock that went back is followed again
    assert robot.pipeline.snapshot(now, now).node_ns == now
