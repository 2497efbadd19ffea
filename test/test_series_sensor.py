"""Sensors of kind series from a recording or a message to windows and predictions: liveness, faults, two sensors on one topic."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_maker import T0
from cdr_messages import raw
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from series_maker import (
    BUMPER,
    BUMPER_SPEC,
    PARAMETERS,
    RATE_HZ,
    SPECS,
    command,
    efforts,
    joint_state,
    save_motor_model,
    write_motor_bag,
)

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.header_stamps import has_header
from sentryfuse_ros.bags.label_sources import read_intervals
from sentryfuse_ros.bags.message_types import definition_of, deserialiser
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.datasets.extract import WindowSettings, extract_windows
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.replay.faults import FaultScript, InjectedFault
from sentryfuse_ros.replay.schedule import DeliveryLog, Schedule, deliveries
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.settings import build_settings, flatten

SENTRYFUSE = Path(sys.prefix) / "bin" / "sentryfuse"


def sensors_of(**blocks):
    parameters = {**PARAMETERS, "sensors": [*PARAMETERS["sensors"], *blocks], **blocks}
    return build_settings(flatten(parameters)).sensors


# ---- from recordings to windows ---------------------------------------------------------------------------------------


def test_windows_hold_the_selected_numbers_of_every_topic_and_of_a_teams_own_type(tmp_path):
    folder = write_motor_bag(tmp_path / "b", bumper=True)
    with Bag(folder) as bag:
        settings = WindowSettings((*SPECS, BUMPER_SPEC), sensors_of(bumper=BUMPER), 0.5)
        found = extract_windows(bag, read_intervals(folder / "intervals.csv"), settings)
    assert found.live.all() and len(found.labels) >= 5 and not found.faults and not found.absent
    assert found.topics == {"wheels": "/joint_states", "command": "/wheel_command", "bumper": "/bumper"}
    t_s = (found.end_ns - T0) / NS
    newest = found.inputs["command"][:, -1]  # a cell is the mean of five messages
    np.testing.assert_allclose(newest[:, 0], t_s - 2 / RATE_HZ, atol=0.021)
    np.testing.assert_allclose(newest.sum(axis=1), 1.0, atol=1e-5)
    wheels = found.inputs["wheels"][:, -1]
    np.testing.assert_allclose(wheels[:, 2], -wheels[:, 3], atol=1e-5)
    np.testing.assert_allclose(wheels[:, :2], [efforts(t)[:2] for t in t_s], atol=0.4)
    np.testing.assert_allclose(found.inputs["bumper"][:, -1, 2] - found.inputs["bumper"][:, -1, 0], 0.1, atol=1e-5)


def test_two_sensors_read_different_fields_of_one_topic(tmp_path):
    folder = write_motor_bag(tmp_path / "b")
    limits = {"field_min": [-50.0], "field_max": [50.0]}
    speed = {**PARAMETERS["wheels"], **limits, "fields": ["velocity[0:3]"], "model_input": "bumper"}
    with Bag(folder) as bag:
        settings = WindowSettings((*SPECS, BUMPER_SPEC), sensors_of(speed=speed), 0.5)
        found = extract_windows(bag, read_intervals(folder / "intervals.csv"), settings)
    assert found.live.all() and found.topics["speed"] == found.topics["wheels"]
    np.testing.assert_allclose(found.inputs["bumper"][:, -1, 0], (found.end_ns - T0) / NS * 3, atol=0.25)


def test_fields_that_a_recorded_type_does_not_have_are_told_with_those_it_has(tmp_path):
    folder = write_motor_bag(tmp_path / "b", bumper=True)
    sensors = sensors_of(bumper={**BUMPER, "fields": ["cells[0].pressure"]})
    with (
        Bag(folder) as bag,
        pytest.raises(ParameterError, match=r"no pressure in my_robot_msgs/msg/Cell, expected one of name"),
    ):
        extract_windows(bag, read_intervals(folder / "intervals.csv"), WindowSettings((BUMPER_SPEC,), sensors))


def test_a_series_is_never_taken_by_its_type(tmp_path):
    """Another JointState topic is not the wheels, only because it is of their type."""
    with Bag(write_motor_bag(tmp_path / "b")) as bag:
        found = match_sensors(bag, sensors_of(arm={**PARAMETERS["wheels"], "topic": "/arm/states"}))
        assert set(found.topics) == {"wheels", "command"} and "/arm/states is not in the recording" in found.absent["arm"]
        assert match_sensors(bag, sensors_of(), {"command": "joint_states"}).topics["command"].name == "/joint_states"


def test_the_recording_knows_which_topics_have_a_header(tmp_path):
    with Bag(write_motor_bag(tmp_path / "b", bumper=True)) as bag:
        assert {t.name: t.has_header for t in bag.topics.values()} == {
            "/joint_states": True,
            "/wheel_command": False,
            "/bumper": True,
        }


def test_a_type_that_the_recording_does_not_define_is_taken_to_have_a_header():
    """Its stamps would otherwise stay those of the recording when it is played."""
    undefined = MessageDefinition(MessageDefinitionFormat.NONE, "")
    assert has_header(
        Connection(1, "/motors", "my_robot_msgs/msg/Motors", undefined, "", 1, ConnectionExtRosbag2("cdr", []), None)
    )


def test_a_type_is_read_as_the_recorder_defined_it(tmp_path):
    """Humble's Range has no variance. It may also be part of a message of a team's own."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    own = "my_robot_msgs/msg/Bumper"
    store.register(get_types_from_msg("std_msgs/Header header\nsensor_msgs/Range front\n", own))
    header = store.types["std_msgs/msg/Header"](store.types["builtin_interfaces/msg/Time"](T0 // NS, 0), "")
    distance = store.types["sensor_msgs/msg/Range"](header, 0, 0.1, 0.0, 5.0, 1.5)
    with Writer(tmp_path / "humble", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, msg_type, message in (
            ("/range", "sensor_msgs/msg/Range", distance),
            ("/bumper", own, store.types[own](header, distance)),
        ):
            connection = writer.add_connection(topic, msg_type, typestore=store)
            writer.write(connection, T0, bytes(store.serialize_cdr(message, msg_type)))
    with Bag(tmp_path / "humble") as bag:
        sent = {topic: deserialiser(bag, topic)(message) for topic, _, message in bag.messages(["/range", "/bumper"])}
        assert sent["/range"].range == sent["/bumper"].front.range == 1.5
        fields = definition_of(bag, "/range").fields
    assert "variance" not in fields and list(fields)[-1] == "range"


def test_a_frozen_message_without_header_is_repeated_as_it_was(tmp_path):
    """A stamp written into it would be read as its numbers."""
    with Bag(write_motor_bag(tmp_path / "b")) as bag:
        topics = match_sensors(bag, sensors_of()).topics
        script = FaultScript((InjectedFault("command", "freeze", 1.0, 2.0),))
        sent = list(deliveries(bag, Schedule(topics, bag.start_ns, script=script, repeat=2), DeliveryLog()))
    frozen = {d.raw for d in sent if d.topic == "/wheel_command" and 1.0 < d.t_s < 2.0}
    assert frozen == {raw(command(1.0 - 1 / RATE_HZ))}
    assert {d.raw for d in sent if d.topic == "/wheel_command" and d.t_s > 5.0} >= {raw(command(0.5))}


def test_sentryfuse_dataset_builds_windows_from_motor_currents(tmp_path):
    for i in range(3):
        write_motor_bag(tmp_path / "bags" / f"b{i}", from_s=4.0 * i)
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": PARAMETERS}}))
    modalities = [{"name": s.name, "kind": s.kind, "window_s": s.window_s, "shape": list(s.shape)} for s in SPECS]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"dataset": str(tmp_path / "windows"), "modalities": modalities}))
    done = subprocess.run(
        [SENTRYFUSE, "dataset", "bags", *"--labels intervals.csv --config recipe.yaml --params robot.yaml --out windows".split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/joint_states" in done.stdout and "std_msgs/msg/Float32MultiArray" in done.stdout, done.stdout
    wheels = [np.load(path) for path in sorted((tmp_path / "windows").rglob("*wheels*.npy"))]
    assert wheels and all(x.shape[1:] == (20, 4) and np.abs(x[:, -1, :2]).max() < 4 for x in wheels)


# ---- from messages to predictions -------------------------------------------------------------------------------------


@pytest.fixture
def robot(tmp_path):
    """A pipeline of the motor model, and a function that feeds both sensors for some seconds and then predicts."""
    settings = build_settings(flatten(PARAMETERS))
    with Bag(write_motor_bag(tmp_path / "b")) as bag:
        definitions = {t.msg_type: definition_of(bag, t.name) for t in bag.topics.values()}
    pipeline = Pipeline(settings, Engine.load(save_motor_model(tmp_path / "model")), definitions=definitions)
    clock = [T0]

    def drive(seconds, joints=joint_state, commands=command):
        prediction = None
        for i in range(round(seconds * RATE_HZ)):
            clock[0] += NS // RATE_HZ
            now_ns, t_s = clock[0], (clock[0] - T0) / NS
            for name, message in (("wheels", joints and joints(t_s, now_ns)), ("command", commands and commands(t_s))):
                if message:
                    pipeline.feed(name, [raw(message)], np.array([now_ns]), now_ns, now_ns)
            if i % 5 == 4:
                prediction = pipeline.tick(now_ns)
        return prediction

    return drive


def status(prediction, sensor="wheels"):
    found = prediction.tick.statuses[sensor]
    return found.state, found.reason


def test_both_sensors_serve_the_model(robot):
    prediction = robot(1.5)
    assert prediction.valid and prediction.tick.serving == ("wheels", "command")
    np.testing.assert_allclose(prediction.tick.inputs["command"][-1].sum(), 1.0, atol=1e-5)
    assert prediction.tick.statuses["wheels"].rate_hz == pytest.approx(RATE_HZ, rel=0.05)


def test_a_torque_outside_its_limits_makes_the_sensor_invalid_and_names_the_field(robot):
    def stalled(t_s, stamp_ns):
        message = joint_state(t_s, stamp_ns)
        message.effort[1] = -31.0
        return message

    assert robot(1.5).valid
    state, reason = status(robot(0.5, stalled))
    assert state == State.INVALID and "effort[1]: saw -31, expected -20 to 20" in reason
    prediction = robot(1.5)
    assert status(prediction) == (State.OK, "") and prediction.tick.mask.all()


def test_equal_numbers_are_frozen_whatever_else_changes(robot):
    def stuck(t_s, stamp_ns):
        message = joint_state(3.0, stamp_ns)
        message.position[:] = t_s
        return message

    assert robot(1.5).valid
    state, reason = status(robot(0.5, stuck))
    assert state == State.FROZEN and "same payload" in reason


def test_silence_without_a_header_is_noticed(robot):
    assert robot(1.5).valid
    prediction = robot(0.6, commands=None)
    assert status(prediction, "command")[0] == State.STALE and prediction.tick.mask.tolist() == [True, False]
    assert robot(1.0).tick.mask.all()


def test_too_short_an_array_is_told_with_the_field(robot):
    def unfilled(t_s, stamp_ns):
        message = joint_state(t_s, stamp_ns)
        message.effort = np.zeros(0)
        return message

    state, reason = status(robot(0.5, unfilled))
    assert state == State.INVALID and "effort: saw 0 elements, expected at least 2, for effort[0:2]" in reason
