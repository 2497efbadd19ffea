"""The processes of this package that replays and benchmarks start."""

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from sentryfuse_ros.nodes.node_process import transport_environment


@pytest.mark.parametrize(
    ("given", "used"), [(None, "LOCALHOST"), ("OFF", "LOCALHOST"), ("LOCALHOST", "LOCALHOST"), ("SUBNET", "SUBNET")]
)
def test_the_processes_of_a_run_find_each_other(monkeypatch, given, used):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    if given is not None:
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", given)
    environment = transport_environment(7)
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == used and environment["ROS_DOMAIN_ID"] == "7"
