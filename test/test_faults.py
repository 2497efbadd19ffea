"""Fault scripts."""

import math

import pytest
from run_record_maker import NAMES

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.paths import share_path
from sentryfuse_ros.replay.faults import FaultScript, read_fault, read_script
from sentryfuse_ros.replay.scores import segments


def test_shipped_scripts_read():
    script = read_script(share_path("config", "faults", "camera_dies_battery_drains.yaml"))
    assert script.faults and script.battery_percent(0.0) == 100 and script.battery_percent(100.0) == 10
    demo = read_script(share_path("config", "faults", "ground_demo.yaml"))
    assert {f.sensor for f in demo.faults} == {"camera", "imu", "audio", "lidar"} and not demo.battery


def test_the_shipped_example_has_the_documented_faults():
    script = read_script(share_path("config", "faults", "camera_dies_battery_drains.yaml"))
    lengths = {f.kind: round(f.to_s - f.from_s, 6) for f in script.faults}
    assert lengths == {"off": 4.0, "freeze": 3.0} and script.sensors() == ("camera",)


def test_battery_curve_is_linear_between_points():
    script = FaultScript(battery=((0.0, 100.0), (10.0, 50.0), (20.0, 40.0)))
    assert [script.battery_percent(t) for t in (-1, 0, 5, 10, 15, 30)] == [100, 100, 75, 50, 45, 40]
    assert math.isnan(FaultScript().battery_percent(1.0))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"sensor": "camera", "kind": "explode", "from": 0, "to": 1}, "kind.*'explode'.*off, freeze"),
        ({"kind": "off", "from": 0, "to": 1}, "sensor.*None"),
        ({"sensor": "camera", "kind": "off", "from": 2, "to": 1}, "to.*later than from 2"),
        ({"sensor": "camera", "kind": "off", "from": -2, "to": 1}, "from.*-2"),
        ({"sensor": "camera", "kind": "off", "from": 0, "to": "late"}, "to.*'late'"),
        ({"sensor": "camera", "kind": "off", "from": 0, "to": 1, "speed": 3}, "unknown speed"),
        (
            {"sensor": "camera", "kind": "slow", "from": 0, "to": 1, "keep_every": 0},
            r"faults\[0\] keep_every: saw 0, expected a whole number",
        ),
        (
            {"sensor": "camera", "kind": "slow", "from": 0, "to": 1, "keep_every": 2.5},
            "keep_every: saw 2.5, expected a whole number",
        ),
        ({"sensor": "camera", "kind": "intermittent", "from": 0, "to": 1, "on_share": 2}, "on_share: saw 2, expected 0 to 1"),
        ({"sensor": "camera", "kind": "burst", "from": 0, "to": 1, "period_s": 0}, "period_s: saw 0, expected a number above 0"),
        ({"sensor": "camera", "kind": "off", "from": 0, "to": 10**400}, "to: saw 1000"),
        ("camera off", "sensor: NAME"),
    ],
)
def test_bad_fault_is_named(entry, expected):
    with pytest.raises(ParameterError, match=expected):
        read_fault(entry, "fault file f.yaml faults[0]")


def test_bare_yaml_off_is_understood():
    assert read_fault({"sensor": "a", "kind": False, "from": 0, "to": 1}, "here").kind == "off"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("faults: [", "valid YAML"),
        ("[1, 2]", "keys faults and battery"),
        ("fault: []", "keys faults and battery"),
        ("battery: [[0, 100], [0, 90]]", r"battery\[1\].*ascending"),
        ("battery: [5]", r"battery\[0\]"),
        ("battery: [[.nan, 5]]", r"battery\[0\]: saw \[nan, 5\]"),
        ("battery: [[0, 1%s]]" % ("0" * 400), r"battery\[0\]"),
        ("battery: 5", "battery: saw 5, expected a list"),
        ("faults: {sensor: camera, kind: freeze, from: 0, to: 1}", "faults: saw {.*}, expected a list"),
    ],
)
def test_broken_script_is_named(tmp_path, text, expected):
    path = tmp_path / "script.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=expected):
        read_script(path)
    with pytest.raises(ParameterError, match="absent.yaml"):
        read_script(tmp_path / "absent.yaml")


def test_empty_script_is_no_faults(tmp_path):
    path = tmp_path / "script.yaml"
    path.write_text("")
    assert read_script(path) == FaultScript()


def test_the_faults_of_the_demo_name_its_sensors_and_leave_time_to_recover():
    script = read_script(share_path("config", "faults", "ground_demo.yaml"))
    assert set(script.sensors()) == set(NAMES) and not script.battery
    assert max(f.to_s for f in script.faults) < 59.0
    alone = [f for _, _, f in segments(script, 60.0)]
    assert any(len(f) == 4 for f in alone) and any(len(f) == 2 for f in alone) and alone[-1] == ()


def test_the_faults_of_the_husky_name_its_sensors_and_leave_time_to_recover():
    script = read_script(share_path("config", "faults", "husky_demo.yaml"))
    assert set(script.sensors()) == {"imu", "wheels", "motors"} and script.battery
    alone = [f for _, _, f in segments(script, 70.0)]
    assert any(len(f) == 3 for f in alone) and any(len(f) == 2 for f in alone) and alone[-1] == ()
