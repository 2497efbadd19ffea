"""`sentryfuse replay` as a user calls it: its own process, fuse_node in another, real DDS between."""

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from bag_maker import write_bag
from replay_command import replay

from sentryfuse_ros.paths import data_root, share_path

BAGS = data_root() / "bags"
ACTIONS = "utd_mhad_depth_imu"  # depth camera and IMU, as these bags have


@pytest.mark.skipif(not BAGS.exists(), reason="no development bags: set SENTRYFUSE_DATA")
def test_shipped_example_on_the_real_recording(tmp_path):
    faults = share_path("config", "faults", "camera_dies_battery_drains.yaml")
    summary, out, log = replay(tmp_path, BAGS / "converted_utd_mhad_depth_imu", "--model", ACTIONS, "--faults", faults)
    assert summary["predictions"] > 100 and summary["valid_predictions"] > 80
    assert [f["kind"] for f in summary["faults"]] == ["freeze", "off"]
    assert summary["faults"][0]["seen_as"][0] == "FROZEN" and "STALE" in summary["faults"][1]["seen_as"]
    assert all(v is not None for v in summary["mask_clear_s"] + summary["mask_return_s"])
    assert min(summary["ratios_seen"]) == 0 and max(summary["ratios_seen"]) >= 0.8
    assert summary["max_gap_s"] is not None and summary["overhead_ms_p99"] is not None
    assert summary["missed_sequences"] == 0 and summary["fuse_node_exit_status"] == 0
    assert set(summary["never_seen"]) == {"audio", "lidar"}
    assert "failed" not in log and "Traceback" not in log
    for name in ("timeline.csv", "timeline.png", "summary.json"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    assert "camera freeze" in out


@pytest.mark.skipif(not BAGS.exists(), reason="no development bags: set SENTRYFUSE_DATA")
def test_bag_without_a_camera_runs_on_the_imu(tmp_path):
    faults = share_path("config", "faults", "camera_dies_battery_drains.yaml")
    summary, out, _ = replay(tmp_path, BAGS / "husky_test1_ros2", "--model", ACTIONS, "--faults", faults, "--to", 6)
    assert "camera" in summary["never_seen"] and "never seen: audio, camera, lidar" in out and "camera: not in this bag" in out
    assert summary["valid_predictions"] > 40 and summary["sensors"] == {"imu": "/imu/data"}
    assert "/fix (sensor_msgs/msg/NavSatFix)" in out
    assert summary["faults"][0]["note"] == "the recording has no such sensor"


def test_every_kind_of_fault_is_noticed(tmp_path):
    script = tmp_path / "faults.yaml"
    script.write_text("""faults:
  - {sensor: camera, kind: garbage, from: 1.5, to: 2.5}
  - {sensor: imu, kind: freeze, from: 3.0, to: 4.0}
  - {sensor: camera, kind: delay, from: 4.5, to: 6.0, by_s: 1.5}
  - {sensor: imu, kind: intermittent, from: 7.5, to: 9.5, period_s: 1.0, on_share: 0.4}
  - {sensor: camera, kind: slow, from: 9.0, to: 11.0, keep_every: 10}
""")
    summary, _, log = replay(tmp_path, write_bag(tmp_path / "bag", 12.0), "--model", ACTIONS, "--faults", script)
    seen = [f["seen_as"] for f in summary["faults"]]
    assert "INVALID" in seen[0] and "FROZEN" in seen[1] and seen[2] and "STALE" in seen[3] and "STALE" in seen[4], summary[
        "faults"
    ]
    assert all(f["mask_return_s"] is not None for f in summary["faults"]), summary["faults"]
    assert "failed" not in log


def test_model_that_is_not_there_ends_with_its_name(tmp_path):
    _, said, _ = replay(tmp_path, write_bag(tmp_path / "bag", 1.0), "--model", "/no/model", status=2)
    assert "/no/model" in said and "Traceback" not in said
