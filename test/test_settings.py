"""Parameters: the shipped YAML agrees with the table, bad values are named, and unknown names get a suggestion."""

import json
import math
import re
import subprocess
import sys

import pytest
import yaml

from sentryfuse_ros.errors import ParameterError, SeveralParameterErrors
from sentryfuse_ros.parameters import PARAMETERS, SENSOR_PARAMETERS
from sentryfuse_ros.paths import share_path
from sentryfuse_ros.sensor_kinds import sensor_kinds
from sentryfuse_ros.settings import build_settings, flatten, read_yaml, text_argument, unknown_names, write_yaml

# Shown in a comment, because no sensor of the default model has them.
SERIES_PARAMETERS = ("fields", "field_min", "field_max", "part")


def test_shipped_yaml_has_every_parameter_at_its_default():
    flat = read_yaml(share_path("config", "fuse.yaml"))
    for parameter in PARAMETERS:
        assert parameter.check(flat[parameter.name]) == parameter.default, parameter.name
    shown = {name.removeprefix("camera.") for name in flat if name.startswith("camera.")} | set(SERIES_PARAMETERS)
    assert {p.name for p in SENSOR_PARAMETERS} == shown
    assert unknown_names(flat, build_settings(flat)["sensors"]) == []


def test_shipped_yaml_explains_every_parameter():
    lines = share_path("config", "fuse.yaml").read_text().splitlines()
    text = " ".join(line.strip(" #") for line in lines)  # texts run over several lines of comment
    for parameter in (*PARAMETERS, *SENSOR_PARAMETERS):
        assert parameter.text in text, parameter.name


def test_shipped_yaml_shows_every_limit_of_the_decoders_at_its_default():
    shown, sensor = {}, ""
    for line in share_path("config", "fuse.yaml").read_text().splitlines():
        if match := re.fullmatch(r"    (\w+):", line):
            sensor = match[1]
        elif match := re.match(r"      #   (\w+): (\S+) +# ", line):
            shown.setdefault(sensor, {})[match[1]] = yaml.safe_load(match[2])
    kinds = [kind for kind in sensor_kinds() if kind.decoders]
    limits = {kind.name: {} for kind in kinds}
    for kind in kinds:
        for msg_type in kind.msg_types:
            limits[kind.name] |= kind.decoder_class(msg_type).default_limits
    assert shown == limits


def test_defaults_make_four_sensors_of_their_kinds():
    settings = build_settings({})
    assert [(s.name, s.kind, s.queue_depth) for s in settings.sensors] == [
        (kind.name, kind.name, kind.queue_depth) for kind in sensor_kinds() if kind.decoders
    ]


def test_shipped_yaml_shows_a_series_that_can_be_used(tmp_path):
    lines = share_path("config", "fuse.yaml").read_text().splitlines()
    begin = lines.index("    # wheels:")
    block = [line.removeprefix("    # ") for line in lines[begin:]]
    (tmp_path / "wheels.yaml").write_text("/**:\n  ros__parameters:\n    " + "\n    ".join(["sensors: [wheels]", *block]))
    (sensor,) = build_settings(read_yaml(tmp_path / "wheels.yaml")).sensors
    assert sensor.kind == "series" and sensor.fields == ("velocity[0:4]", "effort[0:4]")
    assert (sensor.field_min, sensor.field_max) == ((-50.0, -20.0), (50.0, 20.0))


def test_instance_named_after_a_kind_has_that_kind():
    settings = build_settings({"sensors": ["front_camera", "wrist_imu"], "wrist_imu.model_input": "imu"})
    assert [(s.kind, s.model_input) for s in settings.sensors] == [("camera", "front_camera"), ("imu", "imu")]


@pytest.mark.parametrize(
    ("name", "value", "seen", "expected"),
    [
        ("fuse_rate_hz", 1000, "1000", "0.2 to 100"),
        ("fuse_rate_hz", "ten", "'ten'", "a number"),
        ("fuse_rate_hz", float("nan"), "nan", "0.2 to 100"),
        ("fuse_rate_hz", True, "True", "a number"),
        ("inference_threads", 1.5, "1.5", "a whole number"),
        ("device", "gpu", "'gpu'", "cpu, cuda, auto"),
        ("sensors", [], "empty", "at least one"),
        ("sensors", ["imu", "imu"], "imu", "once"),
        ("sensors", ["device"], "'device'", "not the name of a parameter"),
        ("sensors", ["a b"], "'a b'", "letters"),
        ("sensors", ["k\u00e4mera"], "'k\u00e4mera'", "ASCII letters"),
        ("sensors", "imu", "'imu'", "a list of texts"),
        ("sensors", None, "an empty list", "a list of texts"),  # as ROS 2 gives one
        ("battery_curve_ratio", [0.5, "much"], "'much'", "a list of numbers"),
        ("camera.trust", True, "'on'", "off, warn, mask"),
        ("autostart", "yes", "'yes'", "true or false"),
        ("model", 3, "3", "a text"),
        ("battery_curve_ratio", [0.5, 2.0], "2.0", "0 to 0.9"),
        ("camera.timeout_s", -1, "-1", "0 to 3600"),
        ("camera.kind", "sonar", "'sonar'", "camera, imu, audio, lidar, series"),
        ("imu.limits.accel_max_m_s2", "a lot", "'a lot'", "a number"),
    ],
)
def test_bad_value_names_parameter_value_and_range(name, value, seen, expected):
    with pytest.raises(ParameterError) as caught:
        build_settings({name: value})
    text = str(caught.value)
    assert name in text and seen in text and expected in text


def test_on_and_off_need_no_quotes_in_a_parameter_file(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text("/**:\n  ros__parameters:\n    streaming: on\n    camera: {trust: off}\n    imu: {trust: 'off'}\n")
    settings = build_settings(read_yaml(file))
    assert settings["streaming"] == "on"
    assert {s.name: s.trust for s in settings.sensors} == {"camera": "off", "imu": "off", "audio": "mask", "lidar": "mask"}


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(SeveralParameterErrors) as caught:
        build_settings(
            {"fuse_rate_hz": 1000, "device": "gpu", "sensors": ["imu"], "imu.timeout_s": -1, "imu.limits.allow_zero": "no"}
        )
    assert [error.thing for error in caught.value.errors] == [
        "parameter fuse_rate_hz",
        "parameter device",
        "parameter imu.timeout_s",
        "parameter imu.limits.allow_zero",
    ]
    assert str(caught.value).splitlines()[0] == "4 mistakes:" and len(str(caught.value).splitlines()) == 5


def test_a_wrong_name_of_a_sensor_hides_no_mistake_of_the_others():
    with pytest.raises(SeveralParameterErrors) as caught:
        build_settings({"sensors": ["a b", "imu", "imu"], "imu.timeout_s": -1})
    assert [error.thing for error in caught.value.errors] == ["parameter sensors", "parameter imu.timeout_s"]


def test_fuse_rate_may_exceed_the_default_poll_rate():
    assert build_settings({"fuse_rate_hz": 100.0})["fuse_rate_hz"] == 100  # polls are rounded up to it


def test_warning_for_an_unknown_name_suggests_the_nearest():
    texts = unknown_names({"fuse_rate": 1, "imu.timeout": 2, "imu.limits.anything": 3, "use_sim_time": True}, ("imu",))
    assert len(texts) == 2
    assert "did you mean fuse_rate_hz" in texts[0] and "did you mean imu.timeout_s" in texts[1]


def test_limits_reach_the_sensor():
    settings = build_settings(flatten({"imu": {"limits": {"accel_max_m_s2": 50}}}))
    assert next(s for s in settings.sensors if s.name == "imu").limits == {"accel_max_m_s2": 50}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a: 1\nb: [", "in line 2, expected valid YAML"),
        (b"fuse_node: {x: 1}", "ros__parameters"),
        (b"- a", "saw list, expected a ROS 2 parameter file"),
        (b"", "saw an empty file, expected a ROS 2 parameter file"),
        (b"/**: {ros__parameters: 5}", "saw int below /\\*\\*, expected a line NAME: VALUE"),
        (b"/**:\n  ros__parameters:\n  - model", "saw list below /\\*\\*, expected a line NAME: VALUE"),
        (b"/**: {ros__parameters: {model: a, model: b}}", "the key model again after line 1"),
        (b"\x8e\x00", "saw bytes that are no text"),
    ],
)
def test_broken_parameter_file_is_named(tmp_path, text, expected):
    path = tmp_path / "broken.yaml"
    path.write_bytes(text)
    with pytest.raises(ParameterError, match=expected) as caught:
        read_yaml(path)
    assert "broken.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fuse_node: {ros__parameters: {dwell_s: 1.0}}\nlidar_driver: {ros__parameters: {dwell_s: 9.0}}", {"dwell_s": 1.0}),
        ("/**: {ros__parameters: {dwell_s: 1.0}}\n/bot/fuse_node: {ros__parameters: {model: m}}", {"dwell_s": 1.0, "model": "m"}),
        ("bot: {fuse_node: {ros__parameters: {dwell_s: 1.0}}, camera: {ros__parameters: {fps: 30}}}", {"dwell_s": 1.0}),
        ("ground_watcher: {ros__parameters: {dwell_s: 1.0}}", {"dwell_s": 1.0}),
        ("/**: {ros__parameters: }", {}),
    ],
)
def test_of_a_file_for_the_whole_robot_the_blocks_for_this_node_count(tmp_path, text, expected):
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    assert read_yaml(path) == expected


def test_a_whole_number_beyond_all_floats_is_out_of_range():
    with pytest.raises(ParameterError, match="parameter fuse_rate_hz: saw inf, expected a value from 0.2 to 100"):
        build_settings({"fuse_rate_hz": 10**400})
    with pytest.raises(ParameterError, match="parameter battery_curve_ratio: saw -inf, expected a value from 0 to 0.9"):
        build_settings({"battery_curve_ratio": [-(10**400), 0.1]})
    assert build_settings({"lidar.limits.min_points": 10**400}).sensors[3].limits == {"min_points": math.inf}


def test_a_limit_that_is_no_number_is_named():
    for value in (math.nan, "many", True):
        with pytest.raises(ParameterError, match=r"parameter lidar.limits.min_points: saw (nan|'many'|True), expected a number"):
            build_settings({"lidar.limits.min_points": value})


def test_a_sensor_that_is_given_a_value_is_told_of_its_block():
    assert unknown_names({"camera": "/front/image"}, ("camera",)) == [
        "parameter camera is a sensor, which has no value of its own; did you mean camera.topic?"
    ]


def test_absent_parameter_file_is_named(tmp_path):
    with pytest.raises(ParameterError, match="nowhere.yaml.*No such file"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_round_trip_of_every_default():
    tree = yaml.safe_load(
        yaml.safe_dump({p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in PARAMETERS})
    )
    assert build_settings(tree).values == build_settings({}).values


READ_BY_ROS = """
import json, sys, rclpy
from rclpy.node import Node
rclpy.init(args=sys.argv)
node = Node("node", allow_undeclared_parameters=True, automatically_declare_parameters_from_overrides=True)
print(json.dumps({name: node.get_parameter(name).value for name in ("fields", "texts", "model", "rate")}))
"""


def test_texts_reach_a_node_as_they_are(tmp_path):
    """ROS 2 reads a bare y as true and a bare 1e3 as a number, and takes what follows # for a comment."""
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    written = {
        "fields": ["x", "y", "z"],
        "texts": ["n", "1e3", "off", "", "2024_05_01", "a: b #c", "gr\u00fc\u00df"],
        "rate": 10.0,
    }
    write_yaml(tmp_path / "p.yaml", written)
    assert read_yaml(tmp_path / "p.yaml") == written
    model = "/runs/run #3: gr\u00fc\u00df/model"
    command = [sys.executable, "-c", READ_BY_ROS, "--ros-args", "--params-file", str(tmp_path / "p.yaml")]
    ended = subprocess.run([*command, "-p", text_argument("model", model)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {**written, "model": model}
