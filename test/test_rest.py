"""A sensor that is asleep is looked at rarely: what that saves, and that nothing is noticed late or counted wrongly."""

from collections import deque

import numpy as np
import pytest
from cdr_messages import image, raw
from virtual_robot import FOUR, T0, Robot, thrifty_engine, tiny_engine

from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.sensing.rest import LONGEST_REST_S, RESTING_DEPTH, looks_apart_ns
from sentryfuse_ros.sensing.sensor import Sensor
from sentryfuse_ros.settings import build_settings

POLLS_PER_TICK = 3


class PolledRobot(Robot):
    """The same robot behind queues that keep the newest messages only, as a subscription does, and polled as by the node's loop,
    which leaves out the polls between two ticks where no sensor needs them."""

    def __init__(self, engine, **parameters):
        super().__init__(engine, **parameters)
        self.depths = {s.settings.name: s.settings.queue_depth for s in self.pipeline.sensors.values()}
        self.queues = {name: deque(maxlen=depth) for name, depth in self.depths.items()}
        self.taken = dict.fromkeys(self.depths, 0)
        self.looks = dict.fromkeys(self.depths, 0)
        self.skips_polls, self.polls = False, 0

    def poll(self, tick_due):
        begin, self.now_ns = self.now_ns, self.now_ns + NS // (10 * POLLS_PER_TICK)
        if not tick_due and self.skips_polls:
            self.publish(begin)
            return None
        self.polls += 1
        self.publish(begin)
        for name, queue in self.queues.items():
            if not self.pipeline.robot_sensors.look_due(name, self.now_ns, tick_due):
                continue
            self.looks[name] += 1
            self.taken[name] += len(queue)
            arrivals = np.array([t for t, _ in queue], np.int64)
            self.pipeline.feed(name, [m for _, m in queue], arrivals, self.now_ns, self.now_ns)
            queue.clear()
        if not tick_due:
            return None
        prediction = self.pipeline.tick(self.now_ns)
        for name, view in self.pipeline.sensors.items():
            depth = RESTING_DEPTH if view.skips_messages else self.depths[name]
            if self.queues[name].maxlen != depth:
                self.queues[name] = deque(self.queues[name], maxlen=depth)
        return prediction

    def publish(self, begin):
        """Everything that is sent from ``begin`` until now waits in the queues."""
        for name, rate in self.rates.items():
            period = NS // rate
            if name not in self.off:
                for t in range(-(-begin // period) * period, self.now_ns, period):
                    self.queues[name].append((t, self.make[name](t)))

    def step(self, seconds=0.1):
        for _ in range(POLLS_PER_TICK - 1):
            self.poll(False)
        prediction = self.poll(True)
        self.skips_polls = not self.pipeline.robot_sensors.look_due_by(
            self.now_ns + (POLLS_PER_TICK - 1) * NS // (10 * POLLS_PER_TICK)
        )
        return prediction

    def count(self, seconds):
        """Messages taken and looks in so many seconds, by sensor."""
        self.taken, self.looks, self.polls = dict.fromkeys(self.depths, 0), dict.fromkeys(self.depths, 0), 0
        self.run(seconds)
        return self.taken, self.looks


@pytest.fixture(scope="module")
def engine():
    return thrifty_engine(tiny_engine())


@pytest.fixture
def robot(engine):
    """Awake: all sensors have run for two seconds."""
    robot = PolledRobot(engine, dwell_s=0.0)
    robot.run(2.0)
    return robot


@pytest.fixture
def resting(robot):
    """The ratio leaves out all but the IMU."""
    robot.pipeline.override(0.9)
    robot.run(2.0)
    return robot


def test_a_sensor_that_is_awake_loses_no_message(robot):
    taken, looks = robot.count(2.0)
    assert taken == {"camera": 40, "imu": 200, "audio": 100, "lidar": 20}
    assert looks == {"camera": 60, "imu": 20, "audio": 20, "lidar": 60}  # many small messages wait for the next window


def test_asleep_few_pictures_are_taken_and_rate_and_losses_stay_true(resting):
    before = resting.pipeline.sensors
    taken, looks = resting.count(4.0)
    after = resting.pipeline.sensors
    assert taken["camera"] <= 0.6 * 80 and abs(taken["audio"] - 200) <= 25 and taken["imu"] == 400
    assert looks["audio"] <= 2 * 4 + 1 and looks["imu"] == 40
    for name in ("camera", "audio", "lidar"):
        status = after[name].status
        assert after[name].asleep and status.state == State.OK and not status.alarm
        assert status.dropped == before[name].status.dropped == 0
        assert status.rate_hz == pytest.approx(resting.rates[name], rel=0.1)
        assert status.received - before[name].status.received == taken[name]


@pytest.mark.parametrize(("fault", "state"), [("stuck", "FROZEN"), ("silent", "STALE"), ("black", "INVALID")])
@pytest.mark.parametrize("phase", range(5))
def test_a_failure_of_a_sleeping_camera_is_noticed_at_most_one_rest_later(engine, fault, state, phase):
    found = []
    for ratio in (0.9, 0.0):
        robot = PolledRobot(engine, dwell_s=0.0)
        robot.run(2.0)
        robot.pipeline.override(ratio)
        robot.run(2.0 + 0.1 * phase)
        assert robot.pipeline.robot_sensors.view("camera").asleep == bool(ratio)
        pixels = np.full((24, 32), 1500 if fault == "stuck" else 0, np.uint16)
        if fault == "silent":
            robot.off.add("camera")
        else:
            robot.make["camera"] = lambda stamp, pixels=pixels: raw(image(pixels, "16UC1", stamp_ns=stamp))
        states = [p.tick.statuses["camera"].state.name for p in robot.run(2.0)]
        found.append(states.index(state))
    assert found[1] <= found[0] <= found[1] + round(LONGEST_REST_S * 10)


@pytest.mark.parametrize("phase", range(4))
def test_all_sensors_wake_whole_in_the_tick_in_which_they_are_needed(resting, phase):
    resting.run(0.1 * phase)
    resting.off.add("imu")
    predictions = resting.run(1.0)
    assert all(p.valid for p in predictions)
    first = next(p for p in predictions if not p.tick.mask[1])
    assert first.inference.used.tolist() == [True, False, False, True]
    assert first.tick.inputs["camera"].any(axis=(1, 2, 3)).all()  # no empty slot
    assert first.tick.inputs["lidar"].any()
    resting.off.clear()
    resting.pipeline.override(None)
    resting.run(1.0)
    taken, _ = resting.count(1.0)
    assert taken == {"camera": 20, "imu": 100, "audio": 50, "lidar": 10}
    for view in resting.pipeline.sensors.values():
        assert not view.asleep and view.status.state == State.OK and view.status.dropped == 0 or view.settings.name == "imu"


def test_polls_between_ticks_are_left_out_only_while_no_sensor_needs_them(resting):
    resting.count(2.0)
    assert 20 <= resting.polls <= 30  # of 60; a sensor whose rest ends between two ticks is looked at then
    resting.off.add("imu")
    resting.run(0.1)
    assert resting.pipeline.robot_sensors.look_due_by(resting.now_ns)  # it may be failing
    resting.off.clear()
    resting.pipeline.override(0.0)
    resting.run(2.0)
    resting.count(1.0)
    assert resting.polls == 30
    resting.pipeline.robot_sensors.disable("camera")
    resting.pipeline.robot_sensors.disable("lidar")
    assert not resting.pipeline.robot_sensors.look_due_by(resting.now_ns)


def test_a_camera_without_trusted_stamps_misses_nothing_while_it_sleeps(engine):
    robot = PolledRobot(engine, dwell_s=0.0, **{"camera.trust_stamps": False})
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(4.0)
    status = robot.pipeline.robot_sensors.view("camera").status
    assert status.state == State.OK and status.dropped == 0 and status.rate_hz == pytest.approx(20, rel=0.1)


def test_rows_are_made_of_the_pictures_that_a_window_uses(engine):
    robot = PolledRobot(engine, dwell_s=0.0)
    robot.rates["camera"] = 60
    last = robot.run(3.0)[-1]
    stamps, _ = robot.pipeline.robot_sensors._sensors["camera"].buffer.window(robot.now_ns)
    assert 10 <= len(stamps) <= 25  # of 60 in a second: one for each tick, and a few for the slots in between
    assert stamps[-1] == (robot.now_ns - 1) // (NS // 60) * (NS // 60)  # the newest is one of them
    assert last.tick.inputs["camera"].any(axis=(1, 2, 3)).all()


@pytest.fixture
def one_slot():
    """A camera whose window of a second has one slot, after two seconds of ten windows and thirty pictures each."""
    spec = ModalitySpec("camera", "camera", 1.0, (1, 1, 12, 16), "depth_m")
    sensor = Sensor(build_settings({"sensors": ["camera"]}).sensors[0], [spec], None, 10.0)
    for tick in range(20):
        window_of_thirty(sensor, T0 + tick * NS // 10)
        sensor.make_rows()
    return sensor


def window_of_thirty(sensor, begin_ns, ages_ms=(90, 57, 23)):
    """Pictures that come so long before the next window, which is 100 ms after ``begin_ns``; returns the stamp of the last."""
    due_ns = begin_ns + NS // 10
    sensor.expect_window(due_ns)
    for age_ms in ages_ms:
        now_ns = due_ns - age_ms * NS // 1000
        pixels = np.random.default_rng(now_ns).integers(1000, 3000, (24, 32)).astype(np.uint16)
        sensor.feed([raw(image(pixels, "16UC1", stamp_ns=now_ns))], np.array([now_ns]), now_ns, now_ns)
    return now_ns


def test_the_row_of_the_last_picture_before_a_window_is_made_when_it_comes(one_slot):
    last_ns = window_of_thirty(one_slot, T0 + 2 * NS)
    assert one_slot.newest_ns == last_ns
    stamps, rows = one_slot.buffer.window(last_ns)
    assert (np.diff(stamps) == NS // 10).all() and len(stamps) == 10  # and of no other picture
    made = rows[-1].copy()
    one_slot.make_rows()
    assert len(one_slot.buffer.window(last_ns)[0]) == 10 and np.array_equal(one_slot.buffer.window(last_ns)[1][-1], made)


def test_a_window_waits_for_its_row_where_another_picture_was_expected_before_it(one_slot):
    last_ns = window_of_thirty(one_slot, T0 + 2 * NS, (90, 57))  # the third is lost
    assert one_slot.newest_ns < last_ns
    one_slot.make_rows()
    assert one_slot.newest_ns == last_ns


def test_the_newest_of_two_pictures_that_both_seemed_to_be_the_last_is_in_the_window(one_slot):
    last_ns = window_of_thirty(one_slot, T0 + 2 * NS, (90, 57, 23, 4))
    assert one_slot.newest_ns == last_ns


def test_no_row_is_made_in_advance_for_a_sensor_that_no_window_uses(one_slot):
    one_slot.make_rows()
    one_slot.sleep(True)
    before_ns = one_slot.newest_ns
    window_of_thirty(one_slot, T0 + 2 * NS)
    assert one_slot.newest_ns == before_ns


def test_of_a_held_sensor_that_is_due_only_the_last_picture_makes_a_row(one_slot):
    one_slot.make_rows()
    one_slot.sleep(False, held=True)
    before = one_slot.buffer._next
    last_ns = window_of_thirty(one_slot, T0 + 2 * NS)
    assert one_slot.newest_ns == last_ns and one_slot.buffer._next == before + 1


def test_of_two_pictures_that_were_waiting_only_the_newer_makes_a_row(one_slot):
    one_slot.make_rows()
    one_slot.sleep(False, held=True)
    before, due_ns = one_slot.buffer._next, T0 + 2 * NS + NS // 10
    one_slot.expect_window(due_ns)
    for now_ns, more_wait in ((due_ns - NS // 25, True), (due_ns - NS // 100, False)):
        pixels = np.random.default_rng(now_ns).integers(1000, 3000, (24, 32)).astype(np.uint16)
        one_slot.feed([raw(image(pixels, "16UC1", stamp_ns=now_ns))], np.array([now_ns]), now_ns, now_ns, more_wait)
    assert one_slot.newest_ns == now_ns and one_slot.buffer._next == before + 1


def test_a_tick_that_cannot_wait_for_rows_has_the_newest_pictures(robot):
    robot.poll(False)
    robot.poll(False)
    newest_ns = (robot.now_ns - 1) // (NS // 20) * (NS // 20)
    windows = robot.pipeline.snapshot(robot.now_ns, robot.now_ns, make_rows=False).snapshot.windows
    assert windows["camera"][0][-1] == newest_ns
    assert windows["lidar"][0][-1] == (robot.now_ns - 1) // (NS // 10) * (NS // 10)


def test_a_picture_that_cannot_become_a_row_is_refused_whenever_rows_are_made():
    camera = build_settings({"sensors": ["camera"]}).sensors[0]
    sensor = Sensor(camera, FOUR, None, 10.0)  # a depth camera's input
    colour = np.full((24, 32, 3), 90, np.uint8)
    for i in range(12):
        now = T0 + i * NS // 20
        colour[0, 0] = i
        sensor.feed([raw(image(colour, "rgb8", stamp_ns=now))], np.array([now]), now, now)
        sensor.make_rows()
    status = sensor.check(now, now)
    assert status.state == State.INVALID and status.invalid == 12 and "UNSUPPORTED" in status.reason


@pytest.mark.parametrize(("name", "ticks_apart"), [("imu", 3), ("audio", 4)])
def test_small_messages_of_a_sleeping_sensor_are_taken_when_a_window_is_and_never_in_between(engine, name, ticks_apart):
    robot = PolledRobot(engine)
    robot.rates["imu"] = 400
    sensor = Sensor(build_settings({"sensors": [name]}).sensors[0], FOUR, None, 10.0)
    looks, waiting, most = [], [], 0
    for poll in range(150):
        now_ns = T0 + (poll + 1) * NS // 30
        period_ns, tick = NS // robot.rates[name], poll % 3 == 2
        waiting += range(-(-(now_ns - NS // 30) // period_ns) * period_ns, now_ns, period_ns)
        most = max(most, len(waiting))
        if sensor.look_due(now_ns, tick):
            sensor.feed([robot.make[name](t) for t in waiting], np.array(waiting, np.int64), now_ns, now_ns)
            waiting.clear()
            if poll >= 60:
                looks.append(poll)
        if tick:
            sensor.check(now_ns, now_ns)
            sensor.sleep(poll >= 30)
    assert np.diff(looks).tolist() == [3 * ticks_apart] * (len(looks) - 1) and looks[0] % 3 == 2
    assert most <= 0.7 * sensor.settings.queue_depth


def test_times_between_looks():
    assert looks_apart_ns(0.0, 200) == 0  # the period is not known yet
    assert looks_apart_ns(1 / 400, 200) == round(0.325 * NS)  # 0.65 of the queue
    assert looks_apart_ns(1 / 50, 100) == NS // 2
    assert looks_apart_ns(1 / 2, 100) == 0  # too slow to be worth it
    assert looks_apart_ns(1 / 30, 10, NS) == round(0.375 * NS)  # two looks in three quarters of a slot of one second
    assert looks_apart_ns(1 / 30, 10, NS // 4) == round(0.1875 * NS)
