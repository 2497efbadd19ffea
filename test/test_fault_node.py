"""fault_node between a sensor and a listener, over real DDS."""

import os
import threading

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Imu


class Listener:
    def __init__(self, probe, topic):
        self.messages = []
        self._lock = threading.Lock()
        probe.node.create_subscription(Imu, topic, self._keep, 200, raw=True)

    def _keep(self, raw):
        with self._lock:
            self.messages.append(raw)

    def since(self, start):
        return self.messages[start:]


@pytest.fixture
def broken(probe, start):
    """The node on /imu/data, and what it forwards."""
    node = start("-p", "input:=/imu/data", node="fault_node")
    probe.feed_imu()
    listener = Listener(probe, "/imu/data_faulty")
    probe.wait("forwarded messages", lambda: len(listener.messages) > 10, node)
    return probe, node, listener


def test_forwards_unchanged_then_with_every_fault_then_unchanged_again(broken):
    probe, node, listener = broken

    def set_fault(kind):
        result = probe.set_parameter("fault", kind, "/fault_node")
        assert result.successful, result.reason
        return len(listener.messages)

    def frozen():  # messages from before may still be on their way
        newest = listener.messages[-6:]
        return newest if len(newest) == 6 and len({r[60:] for r in newest}) == 1 else None

    set_fault("freeze")
    newest = probe.wait("the same payload", frozen, node)
    assert len({r[4:12] for r in newest}) > 3  # fresh stamps on an old payload
    start = set_fault("garbage")
    probe.wait("messages cut short", lambda: len({len(r) for r in listener.since(start)}) > 1, node)
    set_fault("off")
    settled = []

    def quiet():
        settled.append(len(listener.messages))
        return len(settled) > 5 and len(set(settled[-5:])) == 1

    probe.wait("silence", quiet, node)
    assert probe.set_parameter("fault", False, "/fault_node").successful, "ros2 param set reads a bare off as false"
    start = set_fault("none")
    probe.wait("different messages again", lambda: len({r[60:] for r in listener.since(start)}) > 5, node)


def test_unknown_fault_and_fixed_parameters_are_refused(broken):
    probe, node, _ = broken
    refused = probe.set_parameter("fault", "explode", "/fault_node")
    assert not refused.successful and "'explode'" in refused.reason and "freeze" in refused.reason
    assert "at start" in probe.set_parameter("input", "/other", "/fault_node").reason
    assert node.alive()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "parameter input: saw nothing"),
        (("-p", "input:=/a", "-p", "output:=/a"), "parameter output"),
        (("-p", "input:=/a b", "-p", "type:=sensor_msgs/msg/Image"), "parameter input: saw '/a b', expected a topic name"),
        (("-p", "input:=/a", "-p", "output:=/b-c"), "parameter output: saw '/b-c', expected a topic name"),
        (("-p", "input:=/a", "-p", "type:=sensor_msgs/Image"), "saw sensor_msgs/Image, expected sensor_msgs/msg/Image"),
        (("-p", "input:=/a", "-p", "fault:=explode"), "parameter fault: saw 'explode', expected none, or one of off, freeze"),
        (("-p", "input:=/a", "-p", "keep_every:=0"), "parameter keep_every: saw 0, expected a whole number, 1 or more"),
        (("-p", "input:=/a", "-p", "on_share:=abc"), "parameter on_share: saw 'abc', expected a number"),
        (("-p", "input:=/a", "-p", "type:=no_such/msg/Type"), "message type: saw no_such/msg/Type"),
        (("-p", "input:=/a", "-p", "type:=unittest/__main__/x"), "message type: saw unittest/__main__/x"),
        (("-p", "input:=3"), "parameter input"),
    ],
)
def test_wrong_start_arguments_are_reported_in_one_line(probe, start, arguments, words):
    node = start(*arguments, node="fault_node", expect_end=True)
    assert node.process.wait(180) == 2
    assert words in node.log() and "Traceback" not in node.log()


def test_a_parameter_that_is_not_known_is_named(probe, start):
    node = start("-p", "input:=/x", "-p", "kind:=off", node="fault_node")
    probe.wait_log(node, "parameter kind is not known and ignored; known are ", "keep_every")
    assert "type_description" not in node.log()


def test_an_input_that_nobody_publishes_is_named(probe, start):
    node = start("-p", "input:=imu/daten", node="fault_node")
    probe.wait_log(node, "nobody publishes on /imu/daten yet")


def test_a_publisher_whose_type_is_not_installed_is_named_and_waited_out(probe, start, tmp_path, monkeypatch):
    (tmp_path / "diagnostic_msgs").mkdir()
    (tmp_path / "diagnostic_msgs" / "__init__.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    probe.feed("/x", DiagnosticArray, lambda stamp: DiagnosticArray(), 10.0)
    probe.wait("the publisher", lambda: probe.node.count_publishers("/x"))
    node = start("-p", "input:=/x", node="fault_node")
    probe.wait("a word", lambda: "saw diagnostic_msgs/msg/DiagnosticArray, expected an installed type" in node.log(), node)
    probe.silence("/x")
    probe.wait("its end", lambda: probe.node.count_publishers("/x") == 0, node)
    listener = Listener(probe, "/x_faulty")
    probe.feed_imu("/x")
    probe.wait("forwarded messages", lambda: len(listener.messages) > 5, node)
