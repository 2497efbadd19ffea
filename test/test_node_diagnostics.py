"""/diagnostics survives an error in what it reports."""

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode

from sentryfuse_ros.nodes.diagnostics import NodeDiagnostics


def test_a_diagnosis_that_fails_is_itself_diagnosed(probe):
    def fail():
        raise RuntimeError("no such sensor")

    node = LifecycleNode("broken", enable_rosout=False)
    try:
        diagnostics = NodeDiagnostics(node, 1.0, fail)

        def heard():
            diagnostics.publish()
            return "no such sensor" in probe.diagnosis("loop")[1]

        probe.wait("the error", heard)
        assert probe.diagnosis("loop")[0] == DiagnosticStatus.ERROR
        assert probe.diagnosis("node")[1].startswith("unconfigured: waiting to be configured")
    finally:
        node.destroy_node()
