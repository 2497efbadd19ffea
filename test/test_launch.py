"""fuse.launch.py under the real `launch`: skipped, with the reason, where that is not installed."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("launch_ros", reason="launch and launch_ros come with a ROS 2 installation, they are not on PyPI")

from ros_harness import Probe, environment

from sentryfuse_ros.paths import share_path

RUN = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [tuple(a.split(":=", 1)) for a in sys.argv[2:]]
service = LaunchService(argv=[])
service.include_launch_description(LaunchDescription([
    IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)]))
sys.exit(service.run())
"""


@pytest.fixture
def launch_environment(tmp_path):
    """Environment in which `launch` finds this package; the node needs no transport profile."""
    env = environment()
    env.pop("FASTRTPS_DEFAULT_PROFILES_FILE")
    prefix = str(share_path("config").parents[2])
    env["AMENT_PREFIX_PATH"] = os.pathsep.join(dict.fromkeys([prefix, *env.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]))
    env["ROS_LOG_DIR"] = str(tmp_path)
    return env


@pytest.fixture
def launched(ros, tmp_path, launch_environment):
    started = []

    def run(*arguments):
        log = (tmp_path / "launch.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(share_path("launch", "fuse.launch.py")), *arguments],
            env=launch_environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )
        process.log = lambda: (tmp_path / "launch.log").read_text(errors="replace")
        process.alive = lambda: process.poll() is None
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            interrupt(process)
            process.wait(30)


def interrupt(process):
    """Ctrl+C in a terminal: the signal goes to launch and to the nodes that it started."""
    os.killpg(process.pid, signal.SIGINT)


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
    assert process.wait(30) == 0, process.log()
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
        assert probe.infos[-1].classes == ["asphalt", "grass", "gravel", "sand", "tiles", "wood"]
    finally:
        probe.close()


@pytest.mark.parametrize(
    ("argument", "words"),
    [("params_file:=/no/such.yaml", "params_file: no file at /no/such.yaml"), ("autostart:=maybe", "autostart: saw 'maybe'")],
)
def test_wrong_argument_is_named(launched, argument, words):
    process = launched(argument)
    assert process.wait(60) != 0
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
