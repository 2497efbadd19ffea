"""What `sentryfuse replay` refuses before it starts."""

import pytest
from bag_maker import T0, write_bag

from sentryfuse_ros.cli import main
from sentryfuse_ros.replay.session import ReplayTask, prepare


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
        (["replay", "BAG", "--speed", "0"], ["speed 0.0", "0.05 to 20"]),
        (["replay", "BAG", "--domain-id", "300"], ["--domain-id", "0 to 101"]),
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


def test_bag_without_sensors_names_its_topics(tmp_path):
    from cdr_messages import STORE
    from rosbags.rosbag2 import Writer

    with Writer(tmp_path / "bag", version=9) as writer:
        connection = writer.add_connection("/notes", "std_msgs/msg/String", typestore=STORE)
        writer.write(connection, T0, b"\x00\x01\x00\x00\x01\x00\x00\x00\x00")
    with pytest.raises(Exception, match="/notes"):
        prepare(ReplayTask(tmp_path / "bag"))
