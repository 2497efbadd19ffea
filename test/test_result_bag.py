"""The result of a replay as an mcap file, and what is shown of it."""

import json
import os
import re
import sys
from types import ModuleType

import pytest
from bag_maker import T0, write_bag
from rosbags.interfaces import Nodetype

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.bags.message_types import deserialiser
from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.paths import share_path
from sentryfuse_ros.replay.result_bag import OWN_TOPICS, TRUTH_TOPIC, TRUTH_TYPE, ResultBag, own_types


@pytest.fixture
def recording(tmp_path):
    with Bag(write_bag(tmp_path / "bag", 1.0)) as bag:
        yield bag


def test_inputs_and_truth_are_written_on_the_clock_of_the_recording(tmp_path, recording):
    path = tmp_path / "results" / "run.mcap"
    result = ResultBag(path, recording, {"/imu/raw": "sensor_msgs/msg/Imu"})
    sent = list(recording.messages(["/imu/raw", "/cam/depth"]))
    for topic, time_ns, raw in sent:
        result.write(topic, time_ns, raw)
    result.write_truth(Labels.of_seconds([(-1, 0.4, "sand"), (0.5, 0.8, "wood"), (2, 3, "tiles")]), T0, 1.0)
    assert not path.exists(), "a file that is not complete is not there"
    result.close()
    assert [p.name for p in path.parent.iterdir()] == ["run.mcap"]
    with Bag(path) as bag:
        assert list(bag.messages(["/imu/raw"])) == [row for row in sent if row[0] == "/imu/raw"]
        read = deserialiser(bag, TRUTH_TOPIC)
        truth = [((t - T0) / NS, read(raw).data) for _, t, raw in bag.messages([TRUTH_TOPIC])]
        assert truth == [(0, "sand"), (0.4, ""), (0.5, "wood"), (0.8, "")]
        assert set(OWN_TOPICS) <= set(bag.topics) and "/cam/depth" not in bag.topics and not bag.damage


def test_a_run_that_failed_leaves_nothing(tmp_path, recording):
    result = ResultBag(tmp_path / "results" / "run.mcap", recording, {})
    result.discard()
    result.write("/fuse_node/mask", T0, b"late")
    assert not list((tmp_path / "results").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="another --mcap"):
        ResultBag(tmp_path / "file" / "run.mcap", recording, {})


def test_a_link_stays_and_a_pipe_is_refused(tmp_path, recording):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "run.mcap"
    link.symlink_to(tmp_path / "disk" / "target.mcap")
    ResultBag(link, recording, {}).close()
    assert link.is_symlink() and [path.name for path in (tmp_path / "disk").iterdir()] == ["target.mcap"]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a folder, device or pipe"):
        ResultBag(tmp_path / "pipe", recording, {})
    assert (tmp_path / "pipe").is_fifo()


def test_nothing_is_left_where_a_topic_cannot_be_announced(tmp_path, recording):
    with pytest.raises(KeyError):
        ResultBag(tmp_path / "results" / "run.mcap", recording, {"/no/such/topic": "no_such_msgs/msg/Type"})
    assert not list((tmp_path / "results").iterdir())


def test_every_panel_of_the_foxglove_layout_shows_something_that_exists():
    text = share_path("config", "foxglove_layout.json").read_text()
    paths = re.findall(r'"(?:value|topicPath|topicToRender)": "([^"]+)"', text)
    store, topics = own_types(), {**OWN_TOPICS, TRUTH_TOPIC: TRUTH_TYPE}
    assert len(paths) >= 12
    for path in paths:
        topic, *fields = re.sub(r"\[\d+\]", "", path).split(".")
        kind = topics[topic]
        for field in fields:
            description = dict(store.fielddefs[kind][1])[field]
            while description[0] in (Nodetype.SEQUENCE, Nodetype.ARRAY):
                description = description[1][0]
            kind = description[1]
    panels = json.loads(text)["configById"]
    assert set(re.findall(r'"(?:first|second)": "([^"]+)"', text)) == set(panels)


def test_view_says_what_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)  # as where it is not installed
    assert main(["view", str(tmp_path / "run.mcap")]) == 2
    assert "pip install rerun-sdk" in capsys.readouterr().err


def test_view_says_what_to_do_where_there_is_no_viewer_to_start(tmp_path, recording, capsys, monkeypatch):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    result = ResultBag(tmp_path / "run.mcap", recording, {})
    result.write_truth(Labels.of_seconds([(0, 0.4, "sand")]), T0, 1.0)
    result.close()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert main(["view", str(tmp_path / "run.mcap")]) == 2
    assert "--save FILE.rrd" in capsys.readouterr().err


def test_view_hands_every_message_to_rerun(tmp_path, recording, capsys):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    result = ResultBag(tmp_path / "run.mcap", recording, {"/cam/depth": "sensor_msgs/msg/Image"})
    for row in recording.messages(["/cam/depth"]):
        result.write(*row)
    result.write_truth(Labels.of_seconds([(0, 0.4, "sand")]), T0, 1.0)
    result.close()
    assert main(["view", str(tmp_path / "run.mcap"), "--save", str(tmp_path / "run.rrd")]) == 0
    assert (tmp_path / "run.rrd").stat().st_size > 1000 and "22 messages" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("save", "named"),
    [("folder", "folder: saw a folder, expected a file"), ("run.mcap", "--save: saw .*run.mcap, expected another file")],
    ids=["a folder", "the file that is shown"],
)
def test_view_writes_nothing_where_it_cannot_or_must_not(save, named, tmp_path, recording, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", ModuleType("rerun"))  # refused before Rerun is asked
    ResultBag(tmp_path / "run.mcap", recording, {}).close()
    (tmp_path / "folder").mkdir()
    before = (tmp_path / "run.mcap").read_bytes()
    assert main(["view", str(tmp_path / "run.mcap"), "--save", str(tmp_path / save)]) == 2
    assert re.search(named, capsys.readouterr().err)
    assert (tmp_path / "run.mcap").read_bytes() == before
