"""A lying IMU over real DDS: simulated drive, `sentryfuse replay`, fuse_node with the shipped model."""

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from replay_command import replay

from sentryfuse_ros.simulation.run import simulate

FAULTS = "faults:\n  - {sensor: imu, kind: lie, from: 3.0, to: 7.0}\n"


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drives") / "drive"
    simulate(seed=5, duration_s=10.0, out=folder, split="val")
    return folder


def replay_lie(drive, tmp_path, parameters=""):
    (tmp_path / "faults.yaml").write_text(FAULTS)
    arguments = ["--model", "ground_robot", "--faults", tmp_path / "faults.yaml"]
    if parameters:
        (tmp_path / "parameters.yaml").write_text("/**:\n  ros__parameters:\n" + parameters)
        arguments += ["--params-file", tmp_path / "parameters.yaml"]
    summary, _, log = replay(tmp_path, drive, *arguments)
    (lie,) = summary["faults"]
    return lie, log


def test_accelerations_in_g_are_noticed_within_two_seconds_and_forgiven_after_them(drive, tmp_path):
    lie, log = replay_lie(drive, tmp_path)
    assert lie["kind"] == "lie" and "IMPLAUSIBLE" in lie["seen_as"] and lie["kept"], lie
    assert lie["mask_clear_s"] <= lie["clear_limit_s"] and lie["mask_return_s"] <= lie["return_limit_s"]
    assert "imu: IMPLAUSIBLE" in log and "trained on" in log and "imu: OK again" in log
    assert "does not know what data" not in log


def test_a_warning_leaves_the_sensor_in_the_mask(drive, tmp_path):
    lie, log = replay_lie(drive, tmp_path, "    imu.trust: warn\n")
    assert "IMPLAUSIBLE" not in lie["seen_as"] and "imu: IMPLAUSIBLE" not in log
    assert "imu: OK, unlike what the model was trained on" in log
