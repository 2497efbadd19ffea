"""The threads of an active node's loop, on a clock that the test sets: none takes a tick of another time, or out of turn."""

import queue
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from rclpy.lifecycle import LifecycleNode
from virtual_robot import T0, Robot, tiny_engine

from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.nodes.driver_control import DriverControl
from sentryfuse_ros.nodes.fuse_loop import FuseLoop, Now
from sentryfuse_ros.nodes.publishers import FuserPublishers
from sentryfuse_ros.nodes.receive import make_receive_node
from sentryfuse_ros.nodes.views import Views
from sentryfuse_ros.preprocessing import empty_input
from sentryfuse_ros.settings import build_settings

OVERTAKES_S = 0.5  # a thread that need not wait for its turn has long gone ahead by then; one that must, cannot
PERIOD_NS = NS // 10


class ClockedLoop(FuseLoop):
    """Shows the time that the test has set, to all threads."""

    now = Now(T0, T0)

    def _now(self):
        return self.now

    def show(self, node_ns):
        self.now = Now(node_ns, node_ns)


@pytest.fixture
def loop(ros):
    """A loop that has started, but which nobody spins: only its metronome runs by itself."""
    engine, settings = tiny_engine(), build_settings({"cpu_priority": "ordinary"})
    pipeline = Robot(engine).pipeline
    node = LifecycleNode("loop_under_test")
    receiver = make_receive_node(node)
    dense = engine.infer({spec.name: empty_input(spec) for spec in engine.specs}, np.ones(4, bool), 0.0)
    publishers = FuserPublishers(node, engine, dense, Path("tiny"), "base_link")
    views = Views(node, pipeline, settings, engine.classes)
    made = ClockedLoop(node, settings, pipeline, publishers, views, DriverControl(node, {}), receiver)
    made.start()
    yield made
    made.close()
    receiver.destroy_node()
    node.destroy_node()


@pytest.fixture
def handed_over(loop, monkeypatch):
    """The ticks that were given to the worker, in that order."""
    ticks, put = [], loop._worker.put
    monkeypatch.setattr(loop._worker, "put", lambda job: (ticks.append(job.tick), put(job)))
    return ticks


def test_a_late_tick_of_the_time_before_a_jump_does_not_stop_the_loop(loop, handed_over, monkeypatch):
    loop._poll()
    assert [tick.node_ns for tick in handed_over] == [T0]
    begin_ns, jumped, is_missed = T0 - 100 * NS, threading.Event(), loop._ticks.is_missed
    poll = threading.Thread(target=loop._poll)

    def jump_after(now_ns):
        """The clock jumps when the metronome has just read it, and the executor's thread is quick to notice."""
        missed = is_missed(now_ns)
        if missed and not jumped.is_set():
            loop.show(begin_ns)
            poll.start()
            poll.join(OVERTAKES_S)
            jumped.set()
        return missed

    monkeypatch.setattr(loop._ticks, "is_missed", jump_after)
    loop.show(T0 + NS)
    assert jumped.wait(180)
    poll.join()
    handed_over.clear()
    times_ns = [begin_ns + k * PERIOD_NS for k in range(1, 6)]
    for time_ns in times_ns:
        loop.show(time_ns)
        loop._poll()
    assert [tick.node_ns for tick in handed_over] == times_ns
    assert loop._pipeline.resets == 1


def test_no_tick_is_handed_over_after_a_newer_one(loop, handed_over, monkeypatch):
    put, metronome = loop._worker.put, threading.Thread(target=lambda: loop._fuse(loop.now, 0.0, make_rows=False))

    def put_late(job):
        if metronome.ident is None:
            metronome.start()
            metronome.join(OVERTAKES_S)
        put(job)

    monkeypatch.setattr(loop._worker, "put", put_late)
    loop._poll()
    metronome.join()
    assert [tick.sequence for tick in handed_over] == [1, 2]


def test_no_picture_of_the_time_before_a_jump_is_shown_after_it(loop, monkeypatch):
    shown = queue.Queue()
    monkeypatch.setattr(loop._views, "publish", lambda prediction, pictures: shown.put(list(pictures)))
    loop._pictures["camera"] = bytes(8)
    loop._poll()
    assert shown.get(timeout=180) == ["camera"]
    loop.show(T0 - 100 * NS)
    loop._poll()
    loop.show(T0 - 100 * NS + PERIOD_NS)
    loop._poll()
    assert shown.get(timeout=180) == []


def test_where_the_model_fails_the_prediction_says_so(loop, monkeypatch):
    """Memory may run out, or a library fail: then a prediction is still published in every period."""
    published, publish = queue.Queue(), loop._publishers.publish_prediction

    def keep(prediction, now_ns):
        published.put(publish(prediction, now_ns))
        return published.queue[-1]

    monkeypatch.setattr(loop._publishers, "publish_prediction", keep)
    loop._poll()
    assert published.get(timeout=180).reason.startswith("no live sensor")

    def fail(tick):
        raise MemoryError("no room for the tensors")

    monkeypatch.setattr(loop._pipeline, "infer", fail)
    loop.show(T0 + PERIOD_NS)
    loop._poll()
    message = published.get(timeout=180)
    assert not message.valid and message.reason == "inference failed: MemoryError: no room for the tensors"
    assert message.sequence == 2 and loop._health.failed == 1


def test_a_clock_that_stands_still_does_not_keep_the_loop_waiting_for_a_sample(loop, handed_over, monkeypatch):
    monkeypatch.setattr(loop._pipeline.robot_sensors, "sample_expected", lambda now_ns, within_s: True)
    began_s, waits = time.monotonic(), []
    while not handed_over and time.monotonic() - began_s < 180:
        loop._poll()
        waits.append(loop._waits)
    assert handed_over and waits[0] and not waits[-1]
