"""What a measurement ran on."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from sentryfuse_ros.machine import library_version, machine


@pytest.mark.parametrize("name", ["numpy", "onnxruntime", "torch", "safetensors"])
def test_the_version_of_a_package_is_the_one_that_its_metadata_say(name):
    try:
        expected = version(name)
    except PackageNotFoundError:
        expected = ""
    assert library_version(name) == expected


def test_a_package_that_is_not_installed_has_no_version():
    assert library_version("no_such_package") == ""


def test_the_record_of_a_machine_names_its_libraries_and_threads():
    record = machine(2)
    assert record["threads"] == 2 and record["cores"] >= 1 and record["processor"] and record["onnxruntime"]
