"""The access policy for nodes with other names; test_fuse_node_inputs.py compares it with the graph of a running node."""

import pytest

from sentryfuse_ros.access_policy import access_of
from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.settings import build_settings


@pytest.mark.parametrize("namespace", ["bot", "/bot", "bot/"])
def test_namespace_and_enclave_are_absolute_however_they_are_written(namespace, capsys):
    assert main(["policy", "--namespace", namespace, "--node", "watcher"]) == 0
    text = capsys.readouterr().out
    assert 'enclave path="/bot/watcher"' in text and 'ns="/bot" node="watcher"' in text
    assert "<topic>/bot/watcher/prediction</topic>" in text


@pytest.mark.parametrize(
    ("node", "namespace", "named"),
    [
        ("a b", "/", "name of the node: saw 'a b'"),
        ("2nd", "/", "name of the node: saw '2nd'"),
        ("fuse_node", "x//y", "namespace: saw '/x//y'"),
        ("fuse_node", "/my-bot", "namespace: saw '/my-bot'"),
    ],
)
def test_a_name_that_no_node_can_have_is_refused(node, namespace, named):
    with pytest.raises(ParameterError) as caught:
        access_of(build_settings({}), node, namespace)
    assert named in str(caught.value)


@pytest.mark.parametrize("enclave", ["", "  ", "fuse_node", "../fuse_node", "/bot//node", "/bot/", "/my bot", "/my-bot", "/2nd"])
def test_a_path_that_no_enclave_can_have_is_refused(enclave, tmp_path, capsys):
    out = tmp_path / "policy.xml"
    assert main(["policy", f"--enclave={enclave}", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert f"sentryfuse policy: path of the enclave: saw {enclave!r}, expected a path such as /front/fuse_node" in error
    assert not out.exists()


@pytest.mark.parametrize("enclave", ["/", "/robots/fuse_node_2"])
def test_an_enclave_may_have_a_path_of_its_own(enclave, capsys):
    assert main(["policy", "--enclave", enclave]) == 0
    assert f'<enclave path="{enclave}">' in capsys.readouterr().out


TWO_NODES = """
/**: {ros__parameters: {use_sim_time: true}}
/front/fuse_node: {ros__parameters: {battery_topic: front_pack}}
/rear/fuse_node: {ros__parameters: {battery_topic: rear_pack}}
"""


@pytest.mark.parametrize(("namespace", "other"), [("front", "rear"), ("/rear/", "front")])
def test_of_the_parameters_of_several_nodes_those_of_the_named_one_count(namespace, other, tmp_path, capsys):
    (tmp_path / "robot.yaml").write_text(TWO_NODES)
    assert main(["policy", "--params", str(tmp_path / "robot.yaml"), "--namespace", namespace]) == 0
    text, own = capsys.readouterr().out, namespace.strip("/")
    assert f"<topic>/{own}/{own}_pack</topic>" in text and other not in text
    assert "<topic>/clock</topic>" in text, "its parameter use_sim_time is true"


def test_parameters_for_another_node_are_not_taken_for_those_of_this_one(tmp_path, capsys):
    (tmp_path / "robot.yaml").write_text("/bot/watcher: {ros__parameters: {battery_topic: pack}}")
    assert main(["policy", "--params", str(tmp_path / "robot.yaml")]) == 2
    assert "saw blocks for /bot/watcher, expected one for /fuse_node or /**" in capsys.readouterr().err
    assert main(["policy", "--params", str(tmp_path / "robot.yaml"), "--namespace", "bot", "--node", "watcher"]) == 0
    assert "<topic>/bot/pack</topic>" in capsys.readouterr().out
