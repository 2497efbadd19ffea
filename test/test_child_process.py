"""A process that was started for a replay, a measurement or many tasks ends with it, also where that is killed."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")

DEADLINE_S = 60.0

PARENT = """
import signal, subprocess, sys
from sentryfuse_ros.child_process import bound

child = "import sys, time; print('running', *sys.argv[1:], flush=True); time.sleep(300); print('left behind', flush=True)"
subprocess.Popen(bound([sys.executable, "-c", child, "an argument"]))
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(number):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "running an argument\n"
        parent.send_signal(number)
        assert parent.communicate(timeout=DEADLINE_S)[0] == "", "the output ends when both processes have ended"


POOL = """
import os, time
from sentryfuse_ros.executors import executor

def task(number):
    os.write(1, b"task\\n")  # in one piece, because two processes write
    time.sleep(300)

with executor(2) as workers:
    list(workers.run(task, range(4)))
"""


def test_the_workers_of_a_command_that_is_killed_end_in_the_middle_of_their_tasks():
    with subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        begun = [parent.stdout.readline() for _ in range(2)]
        parent.kill()
        assert begun == ["task\n"] * 2
        assert parent.communicate(timeout=DEADLINE_S)[0] == "", "the output ends when all processes have ended"
