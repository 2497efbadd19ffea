"""Threads whose names Linux shows."""

import os
import threading
import time

import pytest

from sentryfuse_ros.runtime.named_thread import named_thread, names_of_threads


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="Linux alone names threads so")
def test_a_thread_has_its_name_until_it_ends():
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait()

    thread = named_thread(work, "a name of more than fifteen characters")
    assert thread.daemon and thread.name == "a name of more than fifteen characters"
    thread.start()
    assert begun.wait(10)
    assert "a name of more" in names_of_threads(os.getpid())
    may_end.set()
    thread.join()
    end_s = time.monotonic() + 10
    while "a name of more" in names_of_threads(os.getpid()):  # Linux takes it off the list a little after Python
        assert time.monotonic() < end_s
