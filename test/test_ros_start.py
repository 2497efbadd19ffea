"""The start of ROS where it has no folder for its log files, and where the locale is not UTF-8."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from sentryfuse_ros.nodes.ros_start import log_folder

START = "import sys; from sentryfuse_ros.nodes.ros_start import start_ros; start_ros(sys.argv); print('started')"


def started(tmp_path, arguments=(), **variables):
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "ROS_HOME", "ROS_LOG_DIR")}
    environment = {**kept, "TMPDIR": str(tmp_path), **variables}
    return subprocess.run([sys.executable, "-c", START, *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("variables", [{}, {"HOME": "/proc/nobody"}, {"HOME": "/root", "ROS_LOG_DIR": "/proc/logs"}])
def test_without_a_folder_for_log_files_ros_starts_and_says_where_they_go(tmp_path, variables):
    ended = started(tmp_path, **variables)
    spare = tmp_path / f"ros_log_{os.getuid()}"
    assert (ended.returncode, ended.stdout) == (0, "started\n"), ended.stderr
    assert f"they go to {spare}. Set ROS_LOG_DIR" in ended.stderr
    assert variables.get("ROS_LOG_DIR", variables.get("HOME", "HOME")) in ended.stderr
    assert spare.stat().st_mode & 0o777 == 0o700 and list(spare.iterdir())


def test_with_a_home_nothing_is_said(tmp_path):
    ended = started(tmp_path, HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "started\n", "")
    assert list((tmp_path / ".ros" / "log").iterdir())


def test_an_argument_that_the_locale_does_not_know(tmp_path):
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": str(tmp_path)}
    ended = started(tmp_path, ["--ros-args", "-p", "model:=/models/gruß"], **variables)
    assert (ended.returncode, ended.stdout) == (0, "started\n"), ended.stderr


@pytest.mark.parametrize(
    "environment, folder",
    [
        ({"ROS_LOG_DIR": "/logs", "ROS_HOME": "/ros", "HOME": "/home/me"}, "/logs"),
        ({"ROS_LOG_DIR": "~/logs", "HOME": "/home/me"}, "/home/me/logs"),
        ({"ROS_LOG_DIR": "", "ROS_HOME": "/ros", "HOME": "/home/me"}, "/ros/log"),
        ({"HOME": "/home/me"}, "/home/me/.ros/log"),
    ],
)
def test_the_folder_is_where_ros_looks_for_it(environment, folder):
    assert str(log_folder(environment)) == folder


def test_without_any_variable_there_is_no_folder():
    assert log_folder({}) is None and log_folder({"ROS_LOG_DIR": "~/logs"}) is None
