"""A LiDAR that sleeps is switched off at its driver, a managed node in a process of its own, over real DDS."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import DEADLINE_S, environment
from sensor_msgs.msg import PointCloud2

from sentryfuse_ros.msg import AudioChunk, SensorRequests
from sentryfuse_ros.msg import ModalityStatus as S

PARAMETERS = {
    "lidar.may_switch_off": "true",
    "lidar.driver_node": "/lidar_driver",
    "lidar.switch_off_after_s": "0.5",
    "lidar.wake_up_s": "0.5",
    "warm_up": "false",
    "dwell_s": "0.0",
    "hold_pictures": "false",  # or the times measured on this machine might let the LiDAR stay, with fewer pictures
    **{f"{sensor}.trust": "'off'" for sensor in ("imu", "audio", "lidar")},  # made-up data, which no model was trained on
}


@pytest.fixture
def driver(ros):
    script = str(Path(__file__).with_name("managed_lidar.py"))
    process = subprocess.Popen([sys.executable, script], env=environment(), start_new_session=True)
    yield process
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0


@pytest.fixture
def listened(probe):
    """The newest SensorRequests, as a late subscriber also hears them."""
    heard = []
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    probe.node.create_subscription(SensorRequests, "/fuse_node/sensor_request", lambda m: probe._keep(heard, m), qos)
    return heard


def live_node(probe, start, **options):
    """A node with IMU, microphone and LiDAR, of which the plan at a ratio of 0.9 does not use the LiDAR."""
    node = start(*(word for name, value in PARAMETERS.items() for word in ("-p", f"{name}:={value}")), **options)

    def chunk(stamp):
        message = AudioChunk(sample_rate=16000, channels=1)
        message.header.stamp = stamp
        message.samples = np.random.default_rng().integers(-3000, 3000, 320).astype(np.int16).tolist()
        return message

    probe.feed("/audio", AudioChunk, chunk, 50.0)
    probe.feed_imu()
    probe.wait_state("lidar", S.OK, node)
    return node


def test_a_sleeping_lidar_is_switched_off_and_comes_back(probe, start, driver, listened):
    node = live_node(probe, start)
    probe.wait("the first request", lambda: listened and listened[-1].requests[0].wanted, node)
    assert probe.set_parameter("pruning_ratio_override", 0.9).successful
    # Where a busy machine delays the others, it is woken in between, and asleep for another reason.
    status = probe.wait_status(
        "lidar", lambda s: s.state == S.ASLEEP and "the plan has not used it" in s.reason, "its sleep", node
    )
    assert not status.alarm
    probe.wait("the request", lambda: not listened[-1].requests[0].wanted, node)  # it is published after the state
    (request,) = listened[-1].requests
    assert request.sensor == "lidar" and request.topic == "/lidar/points" and not request.wanted
    probe.wait("its driver, which is there and silent", lambda: probe.node.count_publishers("/lidar/points") == 1, node)
    assert probe.set_parameter("pruning_ratio_override", -1.0).successful
    p = probe.wait_new_prediction(lambda p: list(p.used) == [False, True, True, True], "the LiDAR's return", node)
    probe.wait("the second request", lambda: listened[-1].requests[0].wanted, node)
    assert p.valid
    probe.wait_log(node, "lidar: not wanted, the plan has not used it", "lidar: wanted again, the plan uses it")


def test_a_driver_that_hangs_when_it_is_woken_is_an_alarm(probe, start, driver):
    node = live_node(probe, start)
    assert probe.set_parameter("pruning_ratio_override", 0.9).successful
    probe.wait_state("lidar", S.ASLEEP, node)
    driver.send_signal(signal.SIGSTOP)
    assert probe.set_parameter("pruning_ratio_override", -1.0).successful
    status = probe.wait_status("lidar", lambda status: status.alarm, "the alarm", node)
    assert "did not come back within 0.5 s" in status.reason


def test_deactivation_wakes_what_was_switched_off(probe, start, driver, listened):
    node = live_node(probe, start, expect_end=True)
    assert probe.set_parameter("pruning_ratio_override", 0.9).successful
    probe.wait_state("lidar", S.ASLEEP, node)
    clouds = probe.listen(PointCloud2, "/lidar/points")
    assert node.stop() == 0
    probe.wait("clouds after the fuser has gone", lambda: clouds)
    assert "lidar: wanted again, no plan is in force" in node.log()


def test_a_driver_that_a_killed_fuser_left_inactive_is_activated(probe, start, driver):
    clouds = probe.listen(PointCloud2, "/lidar/points")
    probe.wait("the driver", lambda: clouds)
    transition = Transition(id=Transition.TRANSITION_DEACTIVATE)
    assert probe.call(ChangeState, "/lidar_driver/change_state", ChangeState.Request(transition=transition)).success
    node = live_node(probe, start)  # in which the LiDAR is OK
    probe.wait_log(node, "driver /lidar_driver is inactive although its sensor is wanted; it is activated")
