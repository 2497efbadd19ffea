"""Blocks of parameter files that are for other nodes are noticed."""

import pytest

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.nodes.parameter_files import mistakes_in_files, warnings_on_files
from sentryfuse_ros.parameter_blocks import matches
from sentryfuse_ros.yaml_files import load_yaml


# What ROS 2 itself does with these names (rclpy 7.1.6).
@pytest.mark.parametrize(
    ("block", "root", "bot"),
    [
        ("/**", True, True),
        ("fuse_node", True, False),
        ("/fuse_node", True, False),
        ("/bot/fuse_node", False, True),
        ("/**/fuse_node", True, True),
        ("/*/fuse_node", False, True),
        ("other_node", False, False),
        ("/bot", False, False),
    ],
)
def test_block_names_match_as_in_ros(block, root, bot):
    assert matches(block, "/fuse_node") is root and matches(block, "/bot/fuse_node") is bot


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("other_node: {ros__parameters: {fuse_rate_hz: 5.0}}", "/other_node"),
        ("a: {ros__parameters: {x: 1}}\nb: {ros__parameters: {x: 1}}", "/a, /b"),
        ("bot: {fuse_node: {ros__parameters: {fuse_rate_hz: 5.0}}}", "/bot/fuse_node"),
        ("{}", "none"),
    ],
)
def test_a_file_for_other_nodes_is_named_with_its_blocks(tmp_path, text, found):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    (warning,) = warnings_on_files(["fuse_node", "--ros-args", "--params-file", str(path)], "/fuse_node")
    assert str(path) in warning and f"saw {found}, expected /fuse_node or /**" in warning


def test_a_file_with_one_block_for_this_node_is_fine(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("other_node: {ros__parameters: {x: 1}}\nbot: {'*': {ros__parameters: {fuse_rate_hz: 5.0}}}")
    arguments = ["--ros-args", "-r", "__ns:=/bot", "--params-file", str(path), "--", "--params-file", "not ours"]
    assert warnings_on_files(arguments, "/bot/fuse_node") == []


@pytest.mark.parametrize(("scalar", "mistakes"), [("2026-02-30", 0), ("0x_", 0), ("[" * 5000, 1)])
def test_what_the_yaml_library_chokes_on_is_a_mistake_if_ros_refuses_it_and_does_not_end_the_node(tmp_path, scalar, mistakes):
    path = tmp_path / "params.yaml"
    path.write_text(f"other_node:\n  ros__parameters:\n    since: {scalar}\n")
    with pytest.raises(ParameterError, match="expected valid YAML"):
        load_yaml(path, "parameter file")
    arguments = ["fuse_node", "--ros-args", "--params-file", str(path)]
    assert warnings_on_files(arguments, "/fuse_node") == []
    assert len(mistakes_in_files(arguments)) == mistakes


@pytest.mark.parametrize(
    ("value", "mistakes"),
    [("[1e3, 2.0]", 0), ("[2024-01-01, 2024-01-02]", 0), ("~", 0), ("[a, ~]", 0), ("[1, 2.5]", 1), ("[a, yes]", 1)],
)
def test_a_file_that_ros_reads_is_not_blamed_for_another_mistake_on_the_command_line(tmp_path, value, mistakes):
    path = tmp_path / "params.yaml"
    path.write_text(f"other_node:\n  ros__parameters:\n    value: {value}\n")
    assert len(mistakes_in_files(["fuse_node", "--ros-args", "-r", "wrong", "--params-file", str(path)])) == mistakes


def test_a_key_that_comes_twice_is_named_with_both_lines(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("/**:\n  ros__parameters:\n    camera: {topic: /a}\n    imu: {topic: /b}\n    camera: {timeout_s: 1.0}\n")
    with pytest.raises(ParameterError, match="the key camera again after line 3, in line 5, expected each key once"):
        load_yaml(path, "parameter file")
    arguments = ["fuse_node", "--ros-args", "--params-file", str(path)]
    (warning,) = warnings_on_files(arguments, "/fuse_node")  # rcl reads the file and joins the two blocks
    assert "the key camera again after line 3, in line 5" in warning and "ROS 2 takes the last value" in warning


def test_keys_that_are_merged_from_another_block_are_no_repetition(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, y: 3}\n")
    assert load_yaml(path, "parameter file")["c"] == {"x": 2, "y": 3}
