"""What a measurement ran on."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from sentryfuse_ros.machine import library_version, machine, ros_distribution


@pytest.mark.parametrize("name", ["numpy", "onnxruntime", "torch", "safetensors"])
def test_the_version_of_a_package_is_the_one_that_its_metadata_say(name):
    try:
        expected = version(name)
    except PackageNotFoundError:
        expected = ""
    assert library_version(name) == expected


def test_a_package_that_is_not_installed_has_no_version():
    assert library_version("no_such_package") == ""


@pytest.mark.parametrize("sourced", ["humble", "kilted"])
def test_the_distribution_that_is_sourced_counts(monkeypatch, sourced):
    monkeypatch.setenv("ROS_DISTRO", sourced)
    assert ros_distribution() == sourced


def test_without_one_it_is_that_of_the_packages_from_pypi_or_none(monkeypatch):
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    expected = "jazzy from PyPI" if library_version("ros_jazzy_rclpy") else ""
    assert ros_distribution() == expected
    monkeypatch.setattr("sys.path", [])
    assert ros_distribution() == ""


def test_the_record_of_a_machine_names_its_libraries_and_threads():
    record = machine(2)
    assert record["threads"] == 2 and record["cores"] >= 1 and record["processor"] and record["onnxruntime"]
