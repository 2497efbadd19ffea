"""Sensors that an operator takes out of use, or whose loss is known, in the fuser without ROS."""

import pytest
from test_pipeline import Robot, engine  # noqa: F401

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.sensing.liveness import State


@pytest.fixture
def robot(engine):  # noqa: F811
    made = Robot(engine)
    made.run(2)
    return made


def statuses(robot):
    return robot.step().tick.statuses


def test_a_disabled_sensor_clears_its_bit_with_the_reason_and_no_alarm(robot):
    robot.pipeline.robot_sensors.disable("camera", "lens is dirty")
    tick = robot.step().tick
    assert tick.mask.tolist() == [False, True, True, True]
    camera = tick.statuses["camera"]
    assert camera.state == State.DISABLED and camera.reason == "by request: lens is dirty" and not camera.alarm
    received = camera.received
    robot.run(1)
    assert statuses(robot)["camera"].received == received  # what comes is dropped unread


def test_a_required_sensor_that_is_disabled_raises_no_alarm(engine):  # noqa: F811
    robot = Robot(engine, **{"camera.required": True, "camera.grace_s": 0.1})
    robot.off.add("camera")
    robot.run(1)
    assert statuses(robot)["camera"].alarm
    robot.pipeline.robot_sensors.disable("camera")
    assert not statuses(robot)["camera"].alarm


def test_an_enabled_sensor_begins_anew(robot):
    robot.pipeline.robot_sensors.disable("camera")
    robot.run(1)
    robot.pipeline.robot_sensors.enable("camera")
    assert robot.run(1)[-1].tick.mask.all()


def test_an_enabled_sensor_that_does_not_come_has_its_grace(engine):  # noqa: F811
    robot = Robot(engine, **{"camera.required": True, "camera.grace_s": 2.0})
    robot.run(3)
    robot.pipeline.robot_sensors.disable("camera")
    robot.off.add("camera")
    robot.run(3)
    robot.pipeline.robot_sensors.enable("camera")
    assert not robot.run(1)[-1].tick.statuses["camera"].alarm
    assert robot.run(3)[-1].tick.statuses["camera"].alarm


def test_without_any_enabled_sensor_the_prediction_says_so(robot):
    for name in robot.pipeline.sensors:
        robot.pipeline.robot_sensors.disable(name)
    prediction = robot.step()
    assert not prediction.valid and "camera DISABLED" in prediction.reason


def test_a_known_loss_raises_no_alarm_until_the_sensor_has_been_ok_again(robot):
    robot.off.add("imu")
    robot.run(1)
    assert statuses(robot)["imu"].alarm
    robot.pipeline.robot_sensors.acknowledge("imu", "sent in for repair")
    imu = statuses(robot)["imu"]
    assert imu.state == State.STALE and not imu.alarm and imu.reason.endswith("; known: sent in for repair")
    robot.off.clear()
    assert robot.run(1)[-1].tick.statuses["imu"].state == State.OK
    robot.off.add("imu")
    assert robot.run(1)[-1].tick.statuses["imu"].alarm


@pytest.mark.parametrize("action", ["disable", "enable", "acknowledge"])
def test_an_unknown_sensor_is_refused_with_those_that_there_are(robot, action):
    with pytest.raises(ParameterError, match="'radar', expected one of camera, imu, audio, lidar"):
        getattr(robot.pipeline.robot_sensors, action)("radar")


def test_a_sensor_that_is_not_lost_cannot_be_acknowledged_as_lost(robot):
    with pytest.raises(ParameterError, match="sensor imu: saw OK, expected a sensor that is lost"):
        robot.pipeline.robot_sensors.acknowledge("imu")
    robot.pipeline.robot_sensors.disable("imu")
    with pytest.raises(ParameterError, match="saw DISABLED"):
        robot.pipeline.robot_sensors.acknowledge("imu")
