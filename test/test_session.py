"""A replay from its task to its result: what is refused before it starts, and how a played run is judged."""

from pathlib import Path

import pytest
from bag_maker import T0, write_bag

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.nodes.parameter_files import warnings_on_files
from sentryfuse_ros.replay.preparation import prepare, without_types
from sentryfuse_ros.replay.run_record import ModelFacts, PredictionRow, SensorStatus, StatusRow
from sentryfuse_ros.replay.schedule import DeliveryLog, deliveries
from sentryfuse_ros.replay.session import PlayedRun, ReplayTask, judge, node_arguments
from sentryfuse_ros.reporting.run_console import print_setup
from sentryfuse_ros.settings import build_settings, read_yaml, write_yaml


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay", "/no/such/bag"], ["bag /no/such/bag", "nothing there"]),
        (["replay", "BAG", "--faults", "/no/faults.yaml"], ["fault file /no/faults.yaml", "No such file"]),
        (["replay", "BAG", "--params-file", "/no/params.yaml"], ["parameter file /no/params.yaml"]),
        (["replay", "BAG", "--map", "camera=/cam/depth"], ["--map", "SENSOR:=TOPIC"]),
        (["replay", "BAG", "--repeat", "0"], ["--repeat: saw 0", "1 or more"]),
        (["replay", "BAG", "--repeat", "2", "--gap", "inf"], ["--gap: saw inf", "0 to 86400 s"]),
        (["replay", "BAG", "--speed", "0"], ["--speed: saw 0.0", "0.05 to 20"]),
        (["replay", "BAG", "--domain-id", "300"], ["--domain-id", "0 to 101"]),
        (["replay", "BAG", "--mcap-inputs"], ["--mcap-inputs: saw no --mcap, expected --mcap FILE"]),
    ],
)
def test_refusals_are_one_clear_line(bag_path, capsys, arguments, words):
    assert main([str(bag_path) if a == "BAG" else a for a in arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(word in err for word in words), err


def test_fault_on_a_sensor_nobody_configured(bag_path, tmp_path, capsys):
    script = tmp_path / "f.yaml"
    script.write_text("faults:\n  - {sensor: sonar, kind: 'off', from: 0, to: 1}\n")
    assert main(["replay", str(bag_path), "--faults", str(script)]) == 2
    assert "'sonar'" in capsys.readouterr().err


def test_a_battery_of_the_fault_file_takes_the_place_of_the_recorded_one(simulated, tmp_path, capsys):
    script = tmp_path / "f.yaml"
    script.write_text("battery:\n  - [0, 100]\n  - [2, 10]\n")
    print_setup(prepare(ReplayTask(simulated)), 0)
    assert "  battery: /battery_state\n" in capsys.readouterr().out
    print_setup(prepare(ReplayTask(simulated, faults=script)), 0)
    out = capsys.readouterr().out
    assert "  battery: that of the fault file, in place of /battery_state\n" in out and "use them: /odom" in out


def test_faults_that_are_never_injected_are_warned_of(bag_path, tmp_path):
    script = tmp_path / "f.yaml"
    length_s = prepare(ReplayTask(bag_path)).schedule.end_s(Bag(bag_path))
    late = f"from: {length_s + 0.5}, to: {length_s + 0.9}"
    script.write_text(
        f"faults:\n  - {{sensor: imu, kind: freeze, {late}}}\n  - {{sensor: lidar, kind: freeze, from: 0, to: 1}}\n"
    )
    said = "\n".join(prepare(ReplayTask(bag_path, faults=script)).warnings)
    assert f"is never injected: the recording ends after {length_s:.1f} s" in said
    assert "fault lidar freeze 0-1 s is never injected: the recording does not have this sensor" in said
    twice = "\n".join(prepare(ReplayTask(bag_path, faults=script, repeat=2)).warnings)
    assert "the recording ends" not in twice and "fault lidar freeze" in twice


def test_bag_without_sensors_names_its_topics(tmp_path):
    from cdr_messages import STORE
    from rosbags.rosbag2 import Writer

    with Writer(tmp_path / "bag", version=9) as writer:
        connection = writer.add_connection("/notes", "std_msgs/msg/String", typestore=STORE)
        writer.write(connection, T0, b"\x00\x01\x00\x00\x01\x00\x00\x00\x00")
    with pytest.raises(Exception, match="/notes"):
        prepare(ReplayTask(tmp_path / "bag"))


def test_what_differs_from_the_parameters_and_the_model_is_warned_of(bag_path, tmp_path):
    parameters = tmp_path / "p.yaml"
    text = "/**:\n  ros__parameters:\n    sensors: [camera, imu]\n    fuse_rate: 5.0\n    imu: {topic: /imu/raw, time_out_s: 1}\n"
    parameters.write_text(text + "    camera: {topic: /cam/rgb}\n")
    prepared = prepare(ReplayTask(bag_path, params_file=parameters))
    said = "\n".join(prepared.warnings)
    assert "fuse_rate is not known and ignored; did you mean fuse_rate_hz?" in said and "did you mean imu.timeout_s?" in said
    assert "no sensor for the model's input camera" in said and "no sensor for the model's input audio" in said
    assert "imu: sends 50 Hz, and the model's input imu has 200 Hz" in said
    assert "its topic /cam/rgb is not in the recording, which has /cam/depth" in prepared.found.absent["camera"]
    chosen = prepare(ReplayTask(bag_path, params_file=parameters, topics={"camera": "cam/depth"}))
    assert chosen.schedule.sensors["camera"].name == "/cam/depth" and not chosen.found.absent


def test_the_node_gets_the_parameters_that_were_read_whatever_the_name_of_their_block(bag_path, tmp_path):
    mine, theirs = tmp_path / "robot.yaml", tmp_path / "parameters.yaml"
    own = "/bot/fuse_node: {ros__parameters: {fuse_rate_hz: 5.0, imu: {trust: off, topic: imu/raw}}}"
    mine.write_text(own + "\nother: {ros__parameters: {x: 1}}\n")
    prepared = prepare(ReplayTask(bag_path, params_file=mine))
    write_yaml(theirs, prepared.parameters)
    assert warnings_on_files(node_arguments(prepared, theirs), "/fuse_node") == []  # its block is for the node of a replay
    assert read_yaml(theirs) == read_yaml(mine) == {"fuse_rate_hz": 5.0, "imu.trust": False, "imu.topic": "imu/raw"}
    assert build_settings(read_yaml(theirs)) == prepared.settings


def test_a_type_that_is_not_installed_is_not_played(bag_path):
    parameters = Path("p.yaml")
    prepared = prepare(ReplayTask(bag_path))
    left = without_types(prepared, ["sensor_msgs/msg/Image"])
    assert set(left.schedule.sensors) == {"imu"} and "/cam/depth is not played" in left.warnings[-1]
    assert "camera.type:=sensor_msgs/msg/Image" in node_arguments(
        left, parameters
    ) and "camera.topic:=/cam/depth" not in node_arguments(left, parameters)
    assert without_types(prepared, ["std_msgs/msg/String"]) is prepared
    with pytest.raises(BagError, match="not installed"):
        without_types(prepared, ["sensor_msgs/msg/Image", "sensor_msgs/msg/Imu"])


def played(end_s, status=0):
    """What a fuse_node publishes that predicts once a tick with both of its sensors live."""
    ok = SensorStatus("OK", 20.0, "")
    predictions = [PredictionRow(0.1 * i, 0.1 * i, True, "", "sand", 0.9, (True, True), 0.0, 2.0, 9.0, 3.0, i) for i in range(60)]
    statuses = [StatusRow(0.1 * i, {"camera": ok, "imu": ok}) for i in range(60)]
    return PlayedRun(predictions, statuses, [], ModelFacts(), end_s, status, "gone")


@pytest.mark.parametrize(("status", "kept"), [(0, True), (3, False)])
def test_a_replay_is_prepared_played_and_judged(bag_path, status, kept):
    prepared = prepare(ReplayTask(bag_path, to_s=2.0))
    assert "camera.topic:=/cam/depth" in node_arguments(prepared, Path("p.yaml"))
    log = DeliveryLog()
    with prepared.bag as bag:
        delivered = list(deliveries(bag, prepared.schedule, log))
        result = judge(prepared, played(delivered[-1].t_s + 0.3, status), log)
    assert 1.9 < delivered[-1].t_s <= 2.0 and result.sensors == {"camera": "/cam/depth", "imu": "/imu/raw"}
    # What came after the end of the recording is judged for its timing, but does not count as part of the run.
    assert result.summary.predictions == 60 and len(result.record.predictions) == 21
    assert result.summary.promises_kept == kept and result.to_dict()["fuse_node_exit_status"] == status
    assert kept or "fuse_node ended with 3: gone" in result.summary.promises_broken[0]
