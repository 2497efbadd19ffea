"""Sensors of kind series over real DDS: fuse_node, fault_node before it, and a replay of a recording."""

import time

import pytest
import yaml

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from lifecycle_msgs.msg import Transition
from replay_command import replay
from sensor_msgs.msg import JointState
from series_maker import BUMPER, PARAMETERS, RATE_HZ, efforts, save_motor_model, write_motor_bag
from std_msgs.msg import Float32MultiArray

from sentryfuse_ros.sensing.liveness import State


def parameter_file(folder, changes=(), **blocks):
    """The parameter file of the robot with motors and its model; ``changes``: (sensor, parameter, value)."""
    parameters = {name: dict(block) if isinstance(block, dict) else block for name, block in {**PARAMETERS, **blocks}.items()}
    parameters |= {
        "sensors": [*PARAMETERS["sensors"], *blocks],
        "model": str(save_motor_model(folder / "model")),
        "warm_up": False,
    }
    for sensor, name, value in changes:
        parameters[sensor][name] = value
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return str(path)


def joints(stamp):
    t_s = time.monotonic()
    message = JointState(name=["left", "right", "lift"], velocity=[t_s % 9, -(t_s % 7), 0.0], effort=efforts(t_s))
    message.header.stamp = stamp
    return message


def commands(stamp):
    return Float32MultiArray(data=[time.monotonic() % 5, 1.0])


def test_a_robot_with_motors_predicts_and_notices_what_breaks(probe, start, tmp_path):
    faults = start("-p", "input:=/joint_states", "-p", "type:=sensor_msgs/msg/JointState", node="fault_node")
    changes = [("wheels", "topic", "/joint_states_faulty")]
    node = start("--params-file", parameter_file(tmp_path, changes))
    probe.feed("/joint_states", JointState, joints, RATE_HZ)
    probe.feed("/wheel_command", Float32MultiArray, commands, RATE_HZ)
    probe.wait_new_prediction(lambda p: p.valid and all(p.mask), "a prediction from both", node)
    probe.wait_status("wheels", lambda status: status.kind == "series", "the sensor's kind", node)
    for fault, state, told in (
        ("freeze", State.FROZEN, "same payload"),
        ("garbage", State.INVALID, "payload"),
        ("off", State.STALE, "no message for"),
    ):
        assert probe.set_parameter("fault", fault, "/fault_node").successful
        assert told in probe.wait_state("wheels", state, node).reason
        probe.wait_new_prediction(
            lambda p: p.valid and list(p.mask) == [False, True], f"a prediction without wheels: {fault}", node
        )
        assert probe.set_parameter("fault", "none", "/fault_node").successful
        probe.wait_new_prediction(lambda p: p.valid and all(p.mask), f"a prediction from both after {fault}", node)
    assert faults.alive()


def test_a_value_outside_its_limits_is_named_in_the_status(probe, start, tmp_path):
    node = start("--params-file", parameter_file(tmp_path, [("wheels", "field_max", [1.0, 50.0])]))
    probe.feed("/joint_states", JointState, joints, RATE_HZ)
    words = "sensor_msgs/msg/JointState effort[0]: saw"
    status = probe.wait_status("wheels", lambda status: words in status.reason, "the field's name", node)
    assert status.state == State.INVALID and "change field_min or field_max" in status.reason


def test_a_field_without_header_is_frozen_by_fault_node_as_it_was(probe, start, tmp_path):
    start("-p", "input:=/wheel_command", node="fault_node")
    node = start("--params-file", parameter_file(tmp_path, [("command", "topic", "/wheel_command_faulty")]))
    probe.feed("/wheel_command", Float32MultiArray, commands, RATE_HZ)
    probe.wait_state("command", State.OK, node)
    assert probe.set_parameter("fault", "freeze", "/fault_node").successful
    probe.wait_state("command", State.FROZEN, node)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([("wheels", "fields", ["torque[0:4]"])], "no torque in sensor_msgs/msg/JointState, expected one of header"),
        ([("wheels", "fields", ["effort"])], "the range that is wanted: effort[0:4]"),
        (
            [("wheels", "fields", ["effort[0:2]"]), ("wheels", "field_min", [0.0]), ("wheels", "field_max", [9.0])],
            "saw 2 values: effort[0], effort[1], expected 4 values",
        ),
        ([("wheels", "type", "")], "parameter wheels.type: saw '', expected the type of its topic"),
        ([("wheels", "type", "my_robot_msgs/msg/Absent")], "install the package my_robot_msgs"),
        ([("wheels", "type", "unittest/__main__/x")], "parameter wheels.type: saw unittest/__main__/x"),
        ([("wheels", "kind", "imu"), ("wheels", "type", "sensor_msgs/msg/Imu")], "imu sensors are read as a whole"),
    ],
)
def test_configure_refuses_fields_that_do_not_fit(probe, start, tmp_path, changes, told):
    node = start("--params-file", parameter_file(tmp_path, changes), "-p", "autostart:=false")
    assert not probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    probe.wait("the reason in the log", lambda: told in node.log(), node)


def test_replay_plays_motors_with_faults_and_says_what_it_saw(tmp_path):
    bag = write_motor_bag(tmp_path / "bag", seconds=9.0, bumper=True)
    entries = [
        {"sensor": "wheels", "kind": "freeze", "from": 2, "to": 3.5},
        {"sensor": "command", "kind": "off", "from": 5, "to": 6},
    ]
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump({"faults": entries}))
    parameters = parameter_file(tmp_path, bumper=BUMPER)
    summary, said, _ = replay(tmp_path, bag, "--params-file", parameters, "--faults", tmp_path / "faults.yaml")
    assert summary["sensors"] == {"wheels": "/joint_states", "command": "/wheel_command"}
    assert [fault["seen_as"][0] for fault in summary["faults"]] == ["FROZEN", "STALE"]
    assert summary["valid_predictions"] > 60
    assert "bumper: /bumper is not played, because my_robot_msgs/msg/Bumper is not installed" in said
