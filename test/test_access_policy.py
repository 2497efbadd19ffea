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
