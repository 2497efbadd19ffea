"""The scheduling policy of all threads of a process, in a process of its own, with what this machine allows."""

import os
import subprocess
import sys

import pytest

from sentryfuse_ros.runtime.cpu_priority import ORDINARY, RAISED, REALTIME, allowed_level

SCRIPT = """
import os, threading
from sentryfuse_ros.runtime import cpu_priority
from sentryfuse_ros.runtime.cpu_priority import CpuPriority

stop, began = threading.Event(), threading.Event()
other = threading.Thread(target=lambda: (began.set(), stop.wait()))
other.start()
began.wait()

def seen():
    tasks = [int(name) for name in os.listdir("/proc/self/task")]
    return sorted({(os.sched_getscheduler(t), os.getpriority(os.PRIO_PROCESS, t)) for t in tasks}), len(tasks)

priority = CpuPriority()
print(seen())
print(priority.take(), seen(), priority.watch())
EXTRA
priority.give_back()
priority.give_back()
print(priority.level, seen())
stop.set()
"""
BUSY = """
cpu_priority.WATCH_S, cpu_priority.LARGEST_SHARE = 0.0, 0.0
while not priority.watch():
    pass
print("given back", priority.level)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="scheduling policies are Linux's")


def outcome(extra="", prefix=()):
    command = [*prefix, sys.executable, "-c", SCRIPT.replace("EXTRA", extra)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_thread_gets_what_is_allowed_and_gives_it_back():
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    before, taken, after = outcome()
    level = allowed_level()
    expected = {REALTIME: (os.SCHED_FIFO, nice), RAISED: (os.SCHED_OTHER, -10), ORDINARY: (os.SCHED_OTHER, nice)}[level]
    assert before == f"([({os.SCHED_OTHER}, {nice})], 2)"
    assert taken == f"{level} ([{expected}], 2) False"
    assert after.startswith(f"{ORDINARY} ([({os.SCHED_OTHER}, ") and after.endswith("], 2)")


BACKGROUND = """
back, go_on = threading.Event(), threading.Event()
def background():
    cpu_priority.step_back()
    back.set()
    go_on.wait()
thread = threading.Thread(target=background)
thread.start()
back.wait()
print("stepped back", os.sched_getparam(thread.native_id).sched_priority, os.getpriority(os.PRIO_PROCESS, thread.native_id))
priority.give_back()
priority.take()
print("taken again", os.sched_getparam(thread.native_id).sched_priority, os.sched_getparam(0).sched_priority)
go_on.set()
thread.join()
"""


def test_a_thread_that_has_stepped_back_stays_behind_the_others():
    lines = outcome(BACKGROUND)
    realtime = allowed_level() == REALTIME
    policy, nice = [line for line in lines if line.startswith("stepped back")][0].split()[2:]
    assert policy == "1" if realtime else (policy, nice) == ("0", "10")
    assert [line for line in lines if line.startswith("taken again")][0].split()[2:] == (["1", "10"] if realtime else ["0", "0"])


CHILDREN = """
import subprocess, sys
from sentryfuse_ros.runtime.cpu_priority import starting_ordinary_processes

ask = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))"]
before = seen()
with starting_ordinary_processes():
    print("a child has", subprocess.run(ask, capture_output=True, text=True).stdout.strip())
print("as before", seen() == before)
"""


def test_processes_that_are_started_meanwhile_begin_at_ordinary_priority():
    lines = outcome(CHILDREN)
    assert f"a child has {os.SCHED_OTHER} {max(os.getpriority(os.PRIO_PROCESS, 0), 0)}" in lines
    assert "as before True" in lines


def test_a_process_that_computes_all_the_time_gets_its_ordinary_priority_back():
    if allowed_level() == ORDINARY:
        pytest.skip("this machine allows no other priority")
    assert "given back ordinary" in outcome(BUSY)


def test_cores_that_the_process_may_not_use_do_not_count():
    one = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nprint('cores', cpu_priority.cores())"
    assert "cores 1" in outcome(one)


def test_asking_changes_nothing():
    before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    assert allowed_level() in (REALTIME, RAISED, ORDINARY)
    assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == before


def test_without_the_right_the_process_stays_ordinary():
    if os.geteuid() != 0:
        pytest.skip("only root can give the right up here")
    setpriv = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "--reuid=65534", "--clear-groups")
    if subprocess.run([*setpriv, sys.executable, "-c", "import sentryfuse_ros"], capture_output=True).returncode:
        pytest.skip("setpriv is not here, or another user cannot read this installation")
    assert outcome(prefix=setpriv)[1].startswith(ORDINARY)
