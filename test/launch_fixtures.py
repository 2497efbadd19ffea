"""Fixtures that start fuse.launch.py under the real `launch`, in a process of its own."""

import json
import os
import signal
import subprocess
import sys

import pytest

from sentryfuse_ros.paths import share_path

RUN = """
import json, sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import SetParameter
arguments = [tuple(a.split(":=", 1)) for a in sys.argv[3:]]
wide = [SetParameter(name, value) for name, value in json.loads(sys.argv[2]).items()]
service = LaunchService(argv=[])
service.include_launch_description(LaunchDescription([
    *wide,
    IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)]))
sys.exit(service.run())
"""


@pytest.fixture
def launch_environment(tmp_path):
    """Environment in which `launch` finds this package; the node needs no transport profile."""
    from ros_harness import environment  # needs a ROS 2, which conftest.py does not

    env = environment()
    env.pop("FASTRTPS_DEFAULT_PROFILES_FILE")
    prefix = str(share_path("config").parents[2])
    env["AMENT_PREFIX_PATH"] = os.pathsep.join(dict.fromkeys([prefix, *env.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]))
    env["ROS_LOG_DIR"] = str(tmp_path)
    return env


@pytest.fixture
def launched(ros, tmp_path, launch_environment):
    started = []

    def run(*arguments, wide=None, script=RUN):
        """``wide``: parameters that SetParameter gives to every node of the launch."""
        log = (tmp_path / "launch.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(share_path("launch", "fuse.launch.py")), json.dumps(wide or {}), *arguments],
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
            process.wait(180)


def interrupt(process):
    """Ctrl+C in a terminal: the signal goes to launch and to the nodes that it started."""
    os.killpg(process.pid, signal.SIGINT)
