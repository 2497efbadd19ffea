"""The shipped Foxglove layout shows topics and fields that the node publishes."""

import json
import re

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from sentryfuse_ros.msg import FusedPrediction, ModalityMask, PruningState
from sentryfuse_ros.paths import share_path
from sentryfuse_ros.sensing.liveness import State

TOPICS = {
    "/fuse_node/prediction": FusedPrediction,
    "/fuse_node/mask": ModalityMask,
    "/fuse_node/pruning": PruningState,
    "/fuse_node/image": Image,
    "/diagnostics": DiagnosticArray,
}


@pytest.fixture(scope="module")
def layout():
    return json.loads(share_path("config", "foxglove_live.json").read_text())


def message_paths(value):
    """Every string in a panel's configuration that begins as a topic does."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from message_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from message_paths(inner)
    elif isinstance(value, str) and value.startswith("/"):
        yield value


def type_at(path):
    """The type of the field that a message path names, e.g. `float`, `sequence<string>`; a message class for a whole topic."""
    topic, _, fields = path.partition(".")
    message = TOPICS[topic]
    kind = ""
    for field in fields.split(".") if fields else ():
        name = re.match(r"\w+", field)[0]
        kind = message.get_fields_and_field_types()[name]
        inner = re.fullmatch(r"sequence<sentryfuse_ros/(\w+)>", kind)
        if inner:
            message = getattr(__import__("sentryfuse_ros.msg", fromlist=[inner[1]]), inner[1])
            for condition in re.findall(r"\{(\w+)==", field):
                assert condition in message.get_fields_and_field_types()
    return kind or message


def test_every_field_that_a_panel_shows_exists(layout):
    paths = list(message_paths(layout["configById"]))
    assert {path.partition(".")[0] for path in paths} == set(TOPICS)
    for path in paths:
        assert type_at(path), path


def test_the_numbers_of_the_sensor_states_are_explained(layout):
    title = layout["configById"]["StateTransitions!sensors"]["foxglovePanelTitle"]
    explained = {int(number): words.strip() for number, words in re.findall(r"(\d) ([A-Za-z ]+)", title)}
    explained[State.OK] = explained[State.OK].lower()
    assert explained == {state.value: state.name.lower().replace("_", " ") for state in State}


def test_every_panel_has_its_place(layout):
    def panels(node):
        return [node] if isinstance(node, str) else panels(node["first"]) + panels(node["second"])

    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
