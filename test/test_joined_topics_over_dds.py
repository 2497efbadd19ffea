"""A model input from two topics over real DDS: fuse_node, fault_node before one of them, the live view, and a replay."""

import math
import time

import pytest
import yaml

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from geometry_msgs.msg import WrenchStamped
from joined_maker import LEFT_HZ, PARAMETERS, RIGHT_HZ, left, right, save_wheel_model, write_wheel_bag
from lifecycle_msgs.msg import Transition
from replay_command import replay
from std_msgs.msg import Float32

from sentryfuse_ros.reporting.live_view import sensor_cells
from sentryfuse_ros.sensing.liveness import State


def parameter_file(folder, **changes):
    """The parameter file of the robot with two wheels and its model; ``changes``: sensor -> parameters."""
    parameters = {name: dict(block) if isinstance(block, dict) else block for name, block in PARAMETERS.items()}
    for name, block in changes.items():
        parameters[name] |= block
    path = folder / "robot.yaml"
    model = str(save_wheel_model(folder / "model"))
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": {**parameters, "model": model, "warm_up": False}}}))
    return str(path)


def left_now(stamp):
    return Float32(data=float(left(time.monotonic())))


def right_now(stamp):
    message = WrenchStamped()
    message.header.stamp = stamp
    message.wrench.force.x = float(right(time.monotonic()))
    return message


def test_the_input_follows_both_topics_and_the_reason_names_the_one_that_fails(probe, start, tmp_path):
    start("-p", "input:=/wheel_right", node="fault_node")
    node = start("--params-file", parameter_file(tmp_path, wheel_right={"topic": "/wheel_right_faulty"}))
    probe.feed("/wheel_left", Float32, left_now, LEFT_HZ)
    probe.feed("/wheel_right", WrenchStamped, right_now, RIGHT_HZ)
    probe.wait_new_prediction(lambda p: p.valid and list(p.sensors) == ["wheel_left+wheel_right"], "a prediction", node)
    for fault, state in (("off", State.STALE), ("freeze", State.FROZEN), ("garbage", State.INVALID)):
        assert probe.set_parameter("fault", fault, "/fault_node").successful
        probe.wait_state("wheel_right", state, node)
        told = f"the input wheels is left out, because wheel_right is {state.name}"
        other = probe.wait_status("wheel_left", lambda status, told=told: status.reason == told, "the reason of the other", node)
        assert other.state == State.OK and told in map(str, sensor_cells(other))
        probe.wait_new_prediction(lambda p: not p.valid and list(p.mask) == [False], f"no prediction: {fault}", node)
        assert probe.set_parameter("fault", "none", "/fault_node").successful
        probe.wait_new_prediction(lambda p: p.valid and all(p.mask), f"a prediction after {fault}", node)
        probe.wait("no reason any more", lambda: probe.status_of("wheel_left").reason == "", node)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"wheel_right": {"part": 3}}, "wheel_left 1, wheel_right 3, expected 1 to 2"),
        ({"wheel_right": {"fields": ["wrench.force.*"]}}, "4 values of kind series: wheel_left data, wheel_right wrench.force.x"),
        ({"wheel_right": {"fields": ["wrench.torque.w"]}}, "no w in geometry_msgs/msg/Vector3"),
    ],
)
def test_configure_refuses_parts_that_do_not_fit(probe, start, tmp_path, changes, told):
    node = start("--params-file", parameter_file(tmp_path, **changes), "-p", "autostart:=false")
    assert not probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    probe.wait("the reason in the log", lambda: told in node.log(), node)


def test_replay_breaks_one_topic_at_a_time(tmp_path):
    bag = write_wheel_bag(tmp_path / "bag", seconds=9.0)
    entries = [
        {"sensor": "wheel_right", "kind": "off", "from": 3, "to": 4},
        {"sensor": "wheel_left", "kind": "freeze", "from": 6, "to": 7},
    ]
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump({"faults": entries}))
    summary, _, _ = replay(tmp_path, bag, "--params-file", parameter_file(tmp_path), "--faults", tmp_path / "faults.yaml")
    assert summary["sensors"] == {"wheel_left": "/wheel_left", "wheel_right": "/wheel_right"}
    assert [fault["seen_as"][0] for fault in summary["faults"]] == ["STALE", "FROZEN"]
    assert summary["valid_predictions"] > 30 and math.isfinite(summary["max_gap_s"])
    assert summary["valid_predictions"] < summary["predictions"] - 15, "both faults take the input away"
