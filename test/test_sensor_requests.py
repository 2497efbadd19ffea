"""Sensors that the plan leaves out are switched off at their drivers and woken when they are needed: without ROS."""

import pytest
from test_pipeline import Robot, engine  # noqa: F401

from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.pruning.planner import PlanChoice
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.sensing.liveness import State


class Driven(Robot):
    """A robot whose LiDAR has a driver that obeys, and takes ``wake_up_s`` to start."""

    def __init__(self, engine, wake_up_s=0.5, **parameters):  # noqa: F811
        given = {"lidar.may_switch_off": True, "lidar.switch_off_after_s": 2.0, "lidar.wake_up_s": 1.0, "dwell_s": 0.0}
        super().__init__(engine, **{**given, **parameters})
        self.wake_up_s = wake_up_s
        self.started_ns = 0

    @property
    def request(self):
        return self.pipeline.robot_sensors.requests.requests["lidar"]

    def step(self, seconds=0.1):
        if not self.request.wanted:
            self.off.add("lidar")
            self.started_ns = 0
        elif "lidar" in self.off:
            self.started_ns = self.started_ns or self.now_ns + round(self.wake_up_s * 1e9)
            if self.now_ns >= self.started_ns:
                self.off.discard("lidar")
        return super().step(seconds)

    def lidar_state(self):
        return self.pipeline.robot_sensors.view("lidar").status.state


@pytest.fixture
def planned(engine):  # noqa: F811
    """An engine that at a ratio of 0.9 uses the IMU alone whenever that is live."""
    planned, config = Engine(engine.checkpoint, engine.backend), engine.checkpoint.config
    only_imu = (False, True, False, False)
    masks = [tuple(mask) for mask in all_masks(4) if mask[1]]
    planned.choose({(mask, 0.9): PlanChoice(whole_stems(config, only_imu, 0.9), 1.0, 0.8) for mask in masks})
    return planned


@pytest.fixture
def robot(planned):
    """Its LiDAR has been switched off."""
    made = Driven(planned)
    made.run(2.0)
    made.pipeline.override(0.9)
    made.run(4.0)
    return made


def test_a_sensor_that_the_plan_leaves_out_is_switched_off_after_a_while(planned):
    robot = Driven(planned)
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(1.8)
    assert robot.request.wanted and robot.lidar_state() == State.OK
    last = robot.run(1.5)[-1]
    assert not robot.request.wanted and robot.request.reason == "the plan has not used it for 2 s"
    lidar = last.tick.statuses["lidar"]
    assert lidar.state == State.ASLEEP and not lidar.alarm and last.tick.mask.tolist() == [True, True, True, False]
    assert last.valid and not robot.pipeline.robot_sensors.view("lidar").status.alarm


def test_it_stays_off_without_flapping(robot):
    version = robot.pipeline.robot_sensors.requests.version
    assert all(p.tick.statuses["lidar"].state == State.ASLEEP for p in robot.run(20.0))
    assert robot.pipeline.robot_sensors.requests.version == version


def test_it_is_woken_when_the_ratio_falls_and_used_when_it_is_back(robot):
    robot.pipeline.override(None)
    robot.step()
    assert robot.request.wanted and robot.request.reason == "the plan uses it"
    waking = robot.run(0.3)[-1].tick.statuses["lidar"]
    assert waking.state == State.ASLEEP and "may take 1 s" in waking.reason and not waking.alarm
    last = robot.run(1.5)[-1]
    assert last.tick.mask.all() and last.inference.used.all() and robot.lidar_state() == State.OK


def test_it_is_woken_when_too_few_others_are_live(robot):
    robot.off |= {"camera", "audio"}
    predictions = robot.run(2.0)
    assert all(p.valid for p in predictions)
    assert robot.request.wanted and robot.request.reason == "too few others are live" and robot.lidar_state() == State.OK


def test_a_driver_that_does_not_wake_up_in_time_is_an_alarm(robot):
    robot.wake_up_s = 60.0
    robot.pipeline.override(None)
    assert not any(p.tick.statuses["lidar"].alarm for p in robot.run(1.0))
    lidar = robot.run(0.5)[-1].tick.statuses["lidar"]
    assert lidar.alarm and lidar.state == State.STALE and "did not come back within 1 s after it was woken" in lidar.reason


def test_a_driver_that_does_not_obey_keeps_its_sensor_ok(planned):
    robot = Robot(
        planned, **{"lidar.may_switch_off": True, "lidar.switch_off_after_s": 1.0, "lidar.wake_up_s": 0.1, "dwell_s": 0.0}
    )
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(3.0)
    assert not robot.pipeline.robot_sensors.requests.requests["lidar"].wanted
    assert robot.pipeline.robot_sensors.view("lidar").status.state == State.OK
    robot.pipeline.override(None)
    assert robot.run(0.5)[-1].inference.used.all()


def test_the_wake_up_time_bounds_how_soon_it_is_switched_off(planned):
    robot = Driven(planned, **{"lidar.wake_up_s": 5.0})
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(4.5)
    assert robot.request.wanted
    robot.run(1.0)
    assert not robot.request.wanted


def test_a_sensor_that_is_lost_is_not_switched_off_but_stays_an_alarm(planned):
    robot = Driven(planned)
    robot.run(2.0)
    robot.off.add("lidar")
    robot.started_ns = 1 << 62
    robot.pipeline.override(0.9)
    lidar = robot.run(5.0)[-1].tick.statuses["lidar"]
    assert robot.request.wanted and lidar.state == State.STALE and lidar.alarm


def test_two_inputs_always_stay_live(planned):
    robot = Driven(planned)
    robot.off |= {"camera", "audio"}
    robot.run(2.0)
    robot.pipeline.override(0.9)
    robot.run(5.0)
    assert robot.request.wanted  # beside it, only the IMU is live


def test_without_the_parameter_nothing_is_asked(planned):
    robot = Robot(planned, dwell_s=0.0)
    robot.pipeline.override(0.9)
    robot.run(15.0)
    assert robot.pipeline.robot_sensors.requests.requests == {}


def test_activation_and_a_jump_of_the_clock_want_every_sensor(robot):
    robot.pipeline.restart()
    assert robot.request.wanted
