"""fuse.launch.py under the real `launch`: skipped, with the reason, where that is not installed."""

import os
import re
import signal

import pytest
import yaml

pytest.importorskip("launch_ros", reason="launch and launch_ros come with a ROS 2 installation, they are not on PyPI")

from launch_fixtures import interrupt
from ros_harness import Probe
from sensor_msgs.msg import BatteryState


def test_launch_with_namespace_and_topics(launched):
    process = launched(
        "model:=utd_mhad_depth_imu", "namespace:=bot", "camera_topic:=/front/depth", "imu_topic:=wrist", "log_level:=info"
    )
    probe = Probe("/bot")
    try:
        probe.feed_camera("/front/depth")
        probe.feed_imu("/bot/wrist")
        probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "predictions from both topics", process)
        assert probe.get_parameter("use_sim_time").bool_value is False
    finally:
        probe.close()
    interrupt(process)
    assert process.wait(180) == 0, process.log()
    assert "finished cleanly" in process.log()


def test_launch_without_autostart_and_with_sim_time(launched):
    process = launched("model:=utd_mhad_depth_imu", "autostart:=false", "use_sim_time:=true")
    probe = Probe()
    try:
        assert probe.lifecycle_state(process) == "unconfigured"
        assert probe.get_parameter("use_sim_time").bool_value is True
    finally:
        probe.close()


def test_launch_alone_runs_the_default_model(launched):
    process = launched()
    probe = Probe()
    try:
        probe.feed_imu()
        p = probe.wait_new_prediction(lambda p: p.valid, "a prediction from the IMU alone", process)
        assert list(p.modalities) == ["camera", "imu", "audio", "lidar"] and list(p.mask) == [False, True, False, False]
        info = probe.wait("the model's description", lambda: probe.infos and probe.infos[-1], process)
        assert info.classes == ["asphalt", "grass", "gravel", "sand", "tiles", "wood"]
    finally:
        probe.close()


def write_parameters(path, block, **values):
    path.write_text(yaml.safe_dump({block: {"ros__parameters": values}}))
    return path


@pytest.mark.parametrize("block", ["/**", "fuse_node", "/fuse_node"])
def test_the_more_specific_parameter_is_in_force(launched, tmp_path, block):
    """Launch arguments before the user's file, that before SetParameter, and that before the shipped file."""
    mine = write_parameters(tmp_path / "mine.yaml", block, fuse_rate_hz=7.0, output_frame_id="mine", battery_topic="mine")
    wide = {"fuse_rate_hz": 3.0, "output_frame_id": "wide", "dwell_s": 9.0, "battery_topic": "wide"}
    process = launched("autostart:=false", f"params_file:={mine}", "battery_topic:=argument", wide=wide)
    probe = Probe()
    try:
        assert probe.get_parameter("fuse_rate_hz").double_value == 7.0, process.log()
        assert probe.get_parameter("output_frame_id").string_value == "mine"
        assert probe.get_parameter("dwell_s").double_value == 9.0
        assert probe.get_parameter("battery_topic").string_value == "argument"
    finally:
        probe.close()


def test_launch_wide_parameters_win_over_the_shipped_file(launched):
    process = launched("autostart:=false", wide={"fuse_rate_hz": 3.0})
    probe = Probe()
    try:
        assert probe.get_parameter("fuse_rate_hz").double_value == 3.0, process.log()
        assert probe.get_parameter("audio.expected_rate_hz").double_value == 50.0  # only the shipped file says so
    finally:
        probe.close()


def test_name_battery_and_budget_topics(launched):
    process = launched("model:=utd_mhad_depth_imu", "name:=fuser", "battery_topic:=/pack", "power_budget_topic:=/watts")
    probe = Probe("", "fuser")
    try:
        probe.feed_imu()
        probe.feed("/pack", BatteryState, probe.battery(0.15), 5.0)
        probe.wait_new_prediction(lambda p: p.pruning_ratio >= 0.7, "a high ratio at 15 %", process)
        assert probe.get_parameter("power_budget_topic").string_value == "/watts"
    finally:
        probe.close()


def test_respawn_starts_a_killed_node_again(launched):
    process = launched("model:=utd_mhad_depth_imu", "autostart:=false", "respawn:=true")
    probe = Probe()
    try:
        assert probe.lifecycle_state(process) == "unconfigured"
        pid = node_pid(process)
        os.kill(pid, signal.SIGKILL)
        probe.wait("another process", lambda: node_pid(process) not in (None, pid), process)
    finally:
        probe.close()


def node_pid(process):
    """Process of the node that launch has started last."""
    found = re.findall(r"process started with pid \[(\d+)\]", process.log())
    return int(found[-1]) if found else None


TWO_ROBOTS = """
import sys
from launch import LaunchService
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

def robot(**arguments):
    include = IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments.items())
    return GroupAction([include], forwarding=False)  # arguments neither leave the group nor come in from outside

service = LaunchService(argv=[])
service.include_launch_description(LaunchDescription([
    robot(namespace="first", autostart="false", battery_topic="/first/pack", imu_topic="/first/wrist"),
    robot(namespace="second", autostart="false"),
]))
sys.exit(service.run())
"""


def test_a_second_robot_does_not_inherit_the_topics_of_the_first(launched):
    process = launched(script=TWO_ROBOTS)
    first, second = Probe("/first"), Probe("/second")
    try:
        assert first.get_parameter("imu.topic").string_value == "/first/wrist"
        assert first.get_parameter("battery_topic").string_value == "/first/pack"
        assert second.get_parameter("imu.topic").string_value == "imu/data", process.log()
        assert second.get_parameter("battery_topic").string_value == "battery_state"
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("params_file:=/no/such.yaml", "params_file: no file at /no/such.yaml"),
        ("params_file:=/tmp", "params_file: no file at /tmp"),
        ("autostart:=maybe", "autostart: saw 'maybe'"),
        ("log_level:=verbose", "log_level: saw 'verbose', expected one of debug, info, warn, error, fatal"),
    ],
)
def test_wrong_argument_is_named(launched, argument, words):
    process = launched(argument)
    assert process.wait(180) != 0
    assert words in process.log()


def test_launch_description_passes_its_own_tests(launch_environment, monkeypatch):
    """launch_testing's part: tests beside the running launch, and of exit status and output after its end."""
    pytest.importorskip("launch_testing", reason="launch_testing comes with a ROS 2 installation, it is not on PyPI")
    import launch_of_fuse_node
    from launch_testing.loader import LoadTestsFromPythonModule
    from launch_testing.test_runner import LaunchTestRunner

    for name in ("AMENT_PREFIX_PATH", "ROS_LOG_DIR"):
        monkeypatch.setenv(name, launch_environment[name])
    runner = LaunchTestRunner(LoadTestsFromPythonModule(launch_of_fuse_node))
    runner.validate()
    results = list(runner.run().values())
    assert sum(result.testsRun for result in results) == 5
    assert all(result.wasSuccessful() for result in results), [text for r in results for _, text in r.errors + r.failures]
