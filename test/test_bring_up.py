"""A robot is brought up, a driver dies, a recording with losses is played, everything is shut down.

Each scenario runs twice: the node alone in its process, and started by fuse.launch.py where `launch` is installed.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from bag_maker import write_bag
from launch_fixtures import interrupt
from ros_harness import Probe, environment

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.nodes.player import Player
from sentryfuse_ros.replay.faults import FaultScript, InjectedFault
from sentryfuse_ros.replay.schedule import DeliveryLog, Schedule, deliveries
from sentryfuse_ros.sensing.liveness import State

DRIVER = Path(__file__).with_name("imu_driver.py")


class LaunchArguments:
    """The node is started by fuse.launch.py."""

    def __init__(self, request):
        pytest.importorskip("launch_ros", reason="launch and launch_ros come with a ROS 2 installation, they are not on PyPI")
        self._launched = request.getfixturevalue("launched")

    def __call__(self, namespace="", params_file=None, **values):
        arguments = [f"params_file:={params_file}"] if params_file else []
        arguments += [f"{name}:={value}" for name, value in values.items()]
        return self._launched("model:=utd_mhad_depth_imu", f"namespace:={namespace}", *arguments)

    def stop(self, process):
        interrupt(process)
        return process.wait(180)


class NodeArguments:
    """The node is started as its own process."""

    def __init__(self, request):
        self._start = request.getfixturevalue("start")

    def __call__(self, namespace="", params_file=None, **values):
        arguments = ["--params-file", str(params_file)] if params_file else []
        arguments += ["-p", "model:=utd_mhad_depth_imu", "-r", f"__ns:=/{namespace}"]
        for name, value in values.items():
            arguments += ["-p", f"{name.replace('_topic', '.topic')}:={value}"]
        return self._start(*arguments, expect_end=True)

    def stop(self, node):
        return node.stop()


@pytest.fixture(params=[NodeArguments, LaunchArguments], ids=["process", "launch"])
def bring_up(request, ros):
    """bring_up(namespace, params_file, camera_topic=..., use_sim_time=...) starts a fuse_node, bring_up.stop(it) ends it."""
    return request.param(request)


@pytest.fixture
def driver(ros):
    """driver(topic) starts an IMU in a process of its own."""
    started = []

    def run(topic):
        arguments = ["--ros-args", "-r", f"imu:={topic}", "-r", f"__node:=imu_driver_{len(started)}"]
        command = [sys.executable, str(DRIVER), *arguments]
        started.append(subprocess.Popen(command, env=environment(shared_memory=False), cwd=DRIVER.parent))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait(180)


def test_two_robots_lose_their_own_sensors_only(bring_up):
    robots = [
        bring_up("first", camera_topic="/first/depth", imu_topic="wrist"),
        bring_up("second", camera_topic="front/depth", imu_topic="/second_wrist"),
    ]
    first, second = Probe("/first"), Probe("/second")
    try:
        first.feed_camera("/first/depth")
        first.feed_imu("/first/wrist")
        second.feed_camera("/second/front/depth")
        second.feed_imu("/second_wrist")
        for probe, robot in ((first, robots[0]), (second, robots[1])):
            probe.wait_new_prediction(lambda p: list(p.mask) == [True, True] and p.valid, "both sensors", robot)
        first.silence("/first/wrist")
        first.wait_new_prediction(lambda p: list(p.mask) == [True, False] and p.valid, "the camera alone", robots[0])
        assert second.wait_new_prediction(lambda p: p.valid, "a prediction", robots[1]).mask == [True, True]
        second.wait_state("imu", State.OK, robots[1])
    finally:
        first.close()
        second.close()
    for robot in robots:
        assert bring_up.stop(robot) == 0, robot.log()
        assert "Traceback" not in robot.log()


def test_a_killed_driver_is_missed_and_its_successor_is_heard(bring_up, driver, tmp_path):
    # The camera is to count as live all the time, even if a busy machine does not let this process publish for a while.
    (tmp_path / "patient.yaml").write_text("/**: {ros__parameters: {camera: {timeout_s: 5.0}}}")
    robot = bring_up("bot", tmp_path / "patient.yaml", imu_topic="/bot/wrist")
    probe = Probe("/bot")
    try:
        probe.feed_camera("/bot/camera/image_raw")
        first = driver("/bot/wrist")
        probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "both sensors", robot)
        os.kill(first.pid, signal.SIGKILL)
        lost = probe.wait_new_prediction(lambda p: list(p.mask) == [True, False] and p.valid, "the camera alone", robot)
        assert "no message for" in probe.wait_state("imu", State.STALE, robot).reason
        driver("/bot/wrist")
        back = probe.wait_new_prediction(lambda p: list(p.mask) == [True, True] and p.valid, "the new driver", robot)
        between = [p for p in probe.predictions if lost.sequence <= p.sequence <= back.sequence]
        assert all(p.valid for p in between) and len(between) == back.sequence - lost.sequence + 1
    finally:
        probe.close()
    assert bring_up.stop(robot) == 0, robot.log()


def test_a_recording_with_a_loss_is_played(bring_up, tmp_path):
    script = FaultScript(faults=(InjectedFault("camera", "off", 3.0, 5.0),))
    robot = bring_up("", camera_topic="/cam/depth", imu_topic="/imu/raw", use_sim_time="true")
    probe = Probe()
    try:
        probe.wait("ModelInfo", lambda: probe.infos, robot)
        with Bag(write_bag(tmp_path / "bag", seconds=8.0)) as bag:
            sensors = {"camera": bag.topics["/cam/depth"], "imu": bag.topics["/imu/raw"]}
            player = Player(probe.node, sensors, (), script, bag.start_ns)
            stream = deliveries(bag, Schedule(sensors, bag.start_ns, script=script), DeliveryLog())
            topics = ("/clock", *(topic.name for topic in sensors.values()))
            probe.wait("its subscriptions", lambda: all(map(probe.node.count_subscribers, topics)), robot)
            playing = threading.Thread(target=player.play, args=(stream, 1.0, lambda _: None))
            playing.start()
            both = probe.wait_new_prediction(lambda p: list(p.mask) == [True, True] and p.valid, "both sensors", robot)
            lost = probe.wait_new_prediction(lambda p: list(p.mask) == [False, True] and p.valid, "the IMU alone", robot)
            back = probe.wait_new_prediction(lambda p: list(p.mask) == [True, True] and p.valid, "the camera again", robot)
            playing.join(180)
            start_s = bag.start_ns / 1e9
        at = [p.tick.sec + p.tick.nanosec * 1e-9 - start_s for p in (both, lost, back)]
        assert at[0] < 3.0 < at[1] < 5.0 < at[2], at
    finally:
        probe.close()
    assert bring_up.stop(robot) == 0, robot.log()
