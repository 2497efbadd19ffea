"""A replay from its task to its result: what is refused before it starts, and the run itself with stand-ins for ROS."""

from types import SimpleNamespace

import pytest
from bag_maker import T0, write_bag

from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import SentryFuseError
from sentryfuse_ros.replay.run_record import PredictionRow, SensorStatus, StatusRow
from sentryfuse_ros.replay.session import ReplayTask, play, prepare


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


class FakeFuser:
    """Stands in for a fuse_node process."""

    def __init__(self, arguments, status=0):
        self.arguments, self.status, self.stopped = arguments, status, False

    def check(self):
        pass

    def last_words(self):
        return "gone"

    def stop(self):
        self.stopped = True
        return self.status


class FakePlayer:
    """Takes every delivery at once, and predicts once a tick with both sensors."""

    def __init__(self):
        ok = SensorStatus("OK", 20.0, "")
        self.predictions = [
            PredictionRow(0.1 * i, 0.1 * i, True, "", "sand", 0.9, (True, True), 0.0, 2.0, 9.0, 3.0, i) for i in range(60)
        ]
        self.statuses = [StatusRow(0.1 * i, {"camera": ok, "imu": ok}) for i in range(60)]
        self.prunings, self.delivered, self.closed = [], [], False
        self.live = SimpleNamespace(t_s=0.0, prediction=None, mask=None, pruning=None, info=None)

    def play(self, stream, speed, show, keep_going):
        self.delivered = list(stream)
        show(self.live)
        return self.delivered[-1].t_s + 0.3

    def close(self):
        self.closed = True


@pytest.mark.parametrize(("status", "kept"), [(0, True), (3, False)])
def test_a_replay_is_played_judged_and_cleaned_up(bag_path, status, kept):
    fusers, player, shown = [], FakePlayer(), []

    def start_fuser(arguments):
        fusers.append(FakeFuser(arguments, status))
        return fusers[0]

    prepared = prepare(ReplayTask(bag_path, to_s=2.0))
    result = play(prepared, start_fuser, lambda fuser: player, shown.append)
    assert "camera.topic:=/cam/depth" in fusers[0].arguments and fusers[0].stopped and player.closed and shown
    assert 1.9 < player.delivered[-1].t_s <= 2.0 and result.sensors == {"camera": "/cam/depth", "imu": "/imu/raw"}
    # What came after the end of the recording is judged for its timing, but does not count as part of the run.
    assert result.summary.predictions == 60 and len(result.record.predictions) == 21
    assert result.summary.promises_kept == kept and result.to_dict()["fuse_node_exit_status"] == status
    assert kept or "fuse_node ended with 3: gone" in result.summary.promises_broken[0]


def test_the_fuser_is_stopped_if_the_player_cannot_start(bag_path):
    fuser = FakeFuser([])

    def start_player(_):
        raise SentryFuseError("fuse_node", "it never became active")

    with pytest.raises(SentryFuseError, match="never became active"):
        play(prepare(ReplayTask(bag_path)), lambda arguments: fuser, start_player, print)
    assert fuser.stopped
