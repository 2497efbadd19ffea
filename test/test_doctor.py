"""`sentryfuse doctor` and the command line itself."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sentryfuse_ros.cli import VERBS, doctor, doctor_ros, main
from sentryfuse_ros.errors import InstallationError


def test_doctor_finds_nothing_wrong_here(capsys, monkeypatch):
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("python", "torch", "rosbags", "model", "fastdds_large_messages.xml"):
        assert word in out


def test_doctor_as_json_and_with_a_missing_model(capsys):
    assert main(["doctor", "--json", "--model", "no_such_model"]) == 1
    rows = json.loads(capsys.readouterr().out)
    bad = [row for row in rows if row["level"] == "BAD"]
    assert (
        [row["what"] for row in bad] == ["model"]
        and "no_such_model" in bad[0]["found"]
        and "utd_mhad_depth_imu" in bad[0]["found"]
    )


def test_an_empty_name_of_a_model_is_no_folder(capsys):
    assert main(["doctor", "--model", ""]) == 1
    assert "parameter model: saw '', expected a path, or one of ground_robot" in capsys.readouterr().out


def test_doctor_names_a_profile_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/no/profile.xml")
    pytest.importorskip("rclpy")
    assert main(["doctor"]) == 1
    assert "/no/profile.xml does not exist" in capsys.readouterr().out


@pytest.mark.parametrize(
    "distro, variable",
    [("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE")],
)
def test_doctor_reads_and_prints_the_variable_that_this_fast_dds_reads(monkeypatch, tmp_path, distro, variable):
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DISTRO", distro)
    assert f"export {variable}=" in doctor_ros.check_profile().remedy
    (tmp_path / "profile.xml").touch()
    monkeypatch.setenv(variable, str(tmp_path / "profile.xml"))
    assert doctor_ros.check_profile().level == "ok"


def test_the_line_for_the_shell_is_quoted(monkeypatch):
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(doctor_ros, "share_path", lambda *parts: Path("/opt/my robot", *parts))
    assert "='/opt/my robot/config/fastdds_large_messages.xml'" in doctor_ros.check_profile().remedy


HIDE = """
import sys
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, path=None, target=None: None if name.split(".")[0] == "{}" else find_spec(name, path, target)
"""


@pytest.mark.parametrize("module, name", [("numpy", "numpy"), ("yaml", "PyYAML"), ("rosbags", "rosbags")])
def test_doctor_names_a_missing_library_and_goes_on(tmp_path, module, name):
    (tmp_path / "sitecustomize.py").write_text(HIDE.format(module))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "sentryfuse_ros.cli", "doctor", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    found = {row["what"]: row for row in json.loads(ended.stdout)}
    assert ended.returncode == 1 and found[name]["level"] == "BAD" and f"pip install {name}" in found[name]["remedy"]
    assert "jinja2" in found and "power sensors" in found, "the checks after it"


def test_doctor_outlives_a_middleware_that_is_not_installed(capsys, monkeypatch):
    pytest.importorskip("rclpy")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_nobody")
    assert main(["doctor", "--json"]) == 1
    bad = [row for row in json.loads(capsys.readouterr().out) if row["level"] == "BAD"]
    assert [row["what"] for row in bad] == ["RMW"] and "rmw_of_nobody" in bad[0]["found"] and "unset" in bad[0]["remedy"]


@pytest.mark.parametrize(
    "variable, level", [("", "ok"), ("101", "ok"), ("102", "note"), ("232", "note"), ("233", "BAD"), ("x", "BAD")]
)
def test_doctor_says_whether_the_ros_domain_can_be_used(monkeypatch, variable, level):
    monkeypatch.setenv("ROS_DOMAIN_ID", variable)
    assert doctor_ros.check_domain().level == level


@pytest.mark.parametrize(
    "variable, value, level",
    [
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF", "BAD"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST", "note"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET", None),
        ("ROS_LOCALHOST_ONLY", "1", "note"),
        ("ROS_LOCALHOST_ONLY", "0", None),
    ],
)
def test_doctor_says_what_keeps_drivers_from_being_found(monkeypatch, variable, value, level):
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_DISTRO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    found = list(doctor_ros.check_discovery())
    assert [finding.level for finding in found] == ([level] if level else [])
    assert all(variable in finding.found and value in finding.found for finding in found)


@pytest.mark.parametrize(
    "variable, value, levels", [("ROS_LOCALHOST_ONLY", "1", ["note"]), ("ROS_DISTRO", "humble", [])], ids=["overruled", "unknown"]
)
def test_doctor_blames_no_range_of_discovery_that_ros_does_not_look_at(monkeypatch, variable, value, levels):
    monkeypatch.delenv("ROS_LOCALHOST_ONLY", raising=False)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    monkeypatch.setenv(variable, value)
    assert [finding.level for finding in doctor_ros.check_discovery()] == levels


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0 and "usage: sentryfuse " + verb in capsys.readouterr().out


def test_unknown_verb_and_no_verb(capsys):
    for arguments in (["fly"], []):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "replay" in capsys.readouterr().err


def test_a_source_that_is_newer_than_its_installation_is_told_in_one_line(capsys, monkeypatch):
    monkeypatch.setitem(VERBS, "fly", "a verb whose file was not installed")
    assert main(["fly"]) == 2
    assert "make setup, or colcon build" in capsys.readouterr().err


def test_a_package_that_is_missing_is_named_with_the_command_that_says_how_to_install_it():
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("no_such_package")
    assert str(InstallationError.of(caught.value)).startswith("module no_such_package: saw No module named 'no_such_package'")
    assert "sentryfuse doctor" in str(InstallationError.of(caught.value))


@pytest.mark.parametrize(
    "gone, levels",
    [
        ((), {"onnxruntime": "ok", "torch": "ok"}),
        (("torch",), {"onnxruntime": "ok", "torch": "note"}),
        (("onnxruntime",), {"onnxruntime": "note", "torch": "ok"}),
        (("onnxruntime", "torch"), {"onnxruntime": "BAD", "torch": "BAD"}),
    ],
)
def test_doctor_asks_for_one_library_that_runs_the_model(monkeypatch, gone, levels):
    monkeypatch.setattr(doctor, "version", lambda name, module=None: None if name in gone else "1.0")
    found = {finding.what: finding for finding in doctor.check_python()}
    assert {name: found[name].level for name in levels} == levels
    assert all(f"pip install {name}" in found[name].remedy for name in gone)


def test_doctor_checks_exactly_what_package_xml_installs():
    tree = ElementTree.parse(Path(__file__).parents[1] / "package.xml")
    needed = {e.text for tag in ("depend", "exec_depend") for e in tree.iter(tag)}
    python = {name for name in needed if name.startswith("python3-")}
    pip = {name.removeprefix("python3-").removesuffix("-pip") for name in python if name.endswith("-pip")}
    assert {library.apt for library in doctor.LIBRARIES if library.apt} == python - {f"python3-{name}-pip" for name in pip}
    by_pip = {library.name for library in doctor.LIBRARIES if not library.apt} | {"onnxruntime"}
    assert by_pip == pip | {"safetensors"}  # which has no rosdep key
    ros = set(doctor_ros.ROS_PACKAGES) | {name for name, _ in doctor_ros.OPTIONAL_ROS}
    assert ros - {"launch_testing", "bondpy", "vision_msgs"} == needed - python - {"rosidl_default_runtime"}


def test_readme_names_what_is_installed_and_how():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## On a robot")[2].partition("## Topics")[0]
    for library in doctor.LIBRARIES:
        assert (library.apt or library.name) in section
    pip_line = next(line for line in section.splitlines() if line.strip().startswith("pip install"))
    assert {library.name for library in doctor.LIBRARIES if not library.apt} <= set(pip_line.split())


def test_doctor_lists_the_power_sensors(monkeypatch):
    rail = type("Rail", (), {"name": "VDD_IN"})
    monkeypatch.setattr(doctor, "power_rails", lambda kind: [rail] if kind == "hwmon" else [])
    (finding,) = doctor.check_power()
    assert finding.level == "ok" and finding.found == "hwmon: VDD_IN"
