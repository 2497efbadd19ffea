"""`sentryfuse demo` on a machine without data: simulation, replay over real DDS, report."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.cli import main
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import save_checkpoint
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.simulation.ground import CLASSES

SENTRYFUSE = Path(sys.prefix) / "bin" / "sentryfuse"


def demo(tmp_path, *arguments):
    env = {k: v for k, v in os.environ.items() if k not in ("ROS_DOMAIN_ID", "SENTRYFUSE_DATA")}
    return subprocess.Popen(
        [SENTRYFUSE, "demo", "--out", tmp_path / "out", *map(str, arguments)],
        text=True,
        cwd=tmp_path,
        # A shell that runs the tests in the background lets its programs ignore SIGINT.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**env, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A small model of the simulated robot's four sensors."""
    torch.manual_seed(0)
    specs = (
        ModalitySpec("camera", "camera", 1.0, (2, 3, 18, 24), "rgb"),
        ModalitySpec("imu", "imu", 1.0, (100, 6)),
        ModalitySpec("audio", "audio", 1.0, (50, 40)),
        ModalitySpec("lidar", "lidar", 1.0, (2, 4, 16, 40)),
    )
    config = FuseConfig(specs, CLASSES, d_model=16, layers=2, num_kv_heads=2, head_dim=4, ffn_dim=32, ratio_levels=(0.0, 0.5))
    return save_checkpoint(SentryFuse(config), tmp_path_factory.mktemp("models") / "untrained")


def test_a_model_that_is_not_there_is_named_before_anything_is_simulated(tmp_path, capsys):
    assert main(["demo", "--model", "no_such_model", "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "'no_such_model'" in err and not list(tmp_path.iterdir())


def test_interrupted_while_simulating_it_ends_at_once_and_leaves_nothing(tmp_path, untrained):
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    process = demo(tmp_path, "--model", untrained, "--headless")
    assert "simulating" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 130 and "Traceback" not in err
    assert not list(tmp_path.rglob("making-*")) and not list(tmp_path.rglob("*.mcap"))


def test_demo_from_nothing_to_the_report(tmp_path, untrained):
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    process = demo(tmp_path, "--model", untrained, "--duration", 7.5, "--headless")
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    (bag,) = (tmp_path / "cache" / "sentryfuse_ros" / "recordings").iterdir()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["valid_predictions"] > 50 and summary["never_seen"] == [] and summary["fuse_node_exit_status"] == 0
    lie, frozen = summary["faults"]  # the others come later than the end
    assert (lie["sensor"], lie["kind"], lie["kept"]) == (
        "imu",
        "lie",
        True,
    )  # this model has no trust file, so nothing is promised
    assert (frozen["sensor"], frozen["kind"], frozen["seen_as"][0]) == ("camera", "freeze", "FROZEN")
    assert summary["truth"]["overall"]["judged"] > 50
    assert {tuple(row["missing"]) for row in summary["truth"]["by_missing"]} >= {(), ("camera",)}
    with Bag(bag) as opened:
        assert opened.duration_s == pytest.approx(7.5, abs=0.1)
    lines = (tmp_path / "out" / "timeline.csv").read_text().splitlines()
    head = lines[0].split(",")
    percents = [float(row.split(",")[head.index("battery_percent")]) for row in lines[20:]]
    assert percents[0] > percents[-1] > 0 and lines[-10].split(",")[head.index("truth")] in CLASSES
    report = (tmp_path / "out" / "report.html").read_text()
    assert "camera" in report and "Traceback" not in report and len(report) > 100_000 and 'src="http' not in report
    assert "simulating" in out and "camera FROZEN" in out and str(tmp_path / "out" / "report.html") in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_while_replaying_it_ends_in_order(without_nohup, tmp_path, number):
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    process = demo(tmp_path, "--robot", "husky", "--headless")
    assert any("prediction" in line for line in iter(process.stdout.readline, ""))  # the node predicts: the replay is under way
    process.send_signal(number)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 128 + number and "Traceback" not in out + err
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_real_robot_is_replayed_without_a_simulation(tmp_path):
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    process = demo(tmp_path, "--robot", "husky", "--duration", 11, "--headless")
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    assert not list((tmp_path / "cache").rglob("*.mcap")) and "simulating" not in out and "imu FROZEN" in out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["valid_predictions"] > 80 and summary["never_seen"] == [] and summary["never_ok"] == {}
    # The first fourteen seconds are on one ground, of a run that the shipped model has never seen.
    assert summary["truth"]["all_sensors"]["accuracy"] > 0.6
    report = (tmp_path / "out" / "report.html").read_text()
    assert "flooring" in report and "Traceback" not in report and len(report) > 50_000


@pytest.mark.parametrize("robot", ["ground", "husky"])
def test_a_length_of_zero_is_not_taken_for_none(tmp_path, capsys, robot):
    assert main(["demo", "--headless", "--robot", robot, "--duration", "0", "--out", str(tmp_path / "out")]) == 2
    assert "saw 0.0" in capsys.readouterr().err


def test_a_recording_has_no_seed(tmp_path, capsys):
    assert main(["demo", "--robot", "husky", "--seed", "4", "--out", str(tmp_path / "out")]) == 2
    assert "--seed: saw 4" in capsys.readouterr().err


def test_a_standing_robot_is_seen_to_follow_who_passes(tmp_path):
    """The beginning of the scene: nobody for six seconds, then somebody walks in, stops and waves."""
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    process = demo(tmp_path, "--scene", "watch", "--duration", 14, "--headless")
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    parts = {part["label"]: part for part in summary["stream"]["parts"]}
    assert set(parts) == {"nobody", "walks by", "stands", "waves"}
    assert parts["nobody"]["tokens"] < parts["walks by"]["tokens"] < 0.3 and parts["waves"]["full"] == 1
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Nothing moves." in report and "Something moves." in report and "camera full" in out
    (bag,) = (tmp_path / "cache").rglob("*.mcap")
    with Bag(bag.parent) as recording:
        assert recording.topics["/camera/image_raw"].count == 140


def test_the_scene_is_of_the_simulated_robot(tmp_path, capsys):
    assert main(["demo", "--scene", "watch", "--robot", "husky", "--out", str(tmp_path / "out")]) == 2
    assert "--robot: saw husky" in capsys.readouterr().err
