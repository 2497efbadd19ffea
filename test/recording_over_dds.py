"""A program that plays a small recording over DDS, in a process of its own, because it starts and ends rclpy."""

import json
import os
import subprocess
import sys

import pytest


def fault_rows(folder, program):
    """Write a recording to ``folder``/run and run a program with the folder and the ROS domain as its arguments.

    Its last line must hold rows of `sentryfuse bench faults` as JSON. Returns them by (sensor, fault).
    """
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    from bag_maker import write_bag

    write_bag(folder / "run")
    (folder / "over_dds.py").write_text(program)
    command = [sys.executable, str(folder / "over_dds.py"), str(folder), os.environ["ROS_DOMAIN_ID"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return {(row["sensor"], row["fault"]): row for row in json.loads(done.stdout.splitlines()[-1])}
