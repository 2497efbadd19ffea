"""Bags, matching topics to sensors, the stream of deliveries, the command line's refusals. No ROS."""

import argparse

import pytest
from bag_maker import T0, write_bag
from rosbags.rosbag2 import StoragePlugin

from sentryfuse_ros.bags.bag import Bag, find_battery, match_sensors
from sentryfuse_ros.cli import main
from sentryfuse_ros.cli import replay as replay_verb
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.paths import data_root
from sentryfuse_ros.replay.faults import Fault, FaultScript, stamp_of
from sentryfuse_ros.replay.judge import PredictionRow, StatusRow
from sentryfuse_ros.replay.schedule import Truth, deliveries
from sentryfuse_ros.reporting.run_timeline import draw_timeline, write_timeline
from sentryfuse_ros.settings import build_settings

SENSORS = build_settings({}).sensors


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "run")


NO_FAULTS = FaultScript()


def play(bag, script=NO_FAULTS, repeat=1, to_s=float("inf")):
    truth = Truth()
    return list(deliveries(bag, match_sensors(bag, SENSORS, {}), (), script, repeat, 1.0, truth, to_s)), truth


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_both_storages_are_read(tmp_path, storage):
    with Bag(write_bag(tmp_path / "bag", 1.0, storage)) as bag:
        out, _ = play(bag)
        assert len(out) == 70 and bag.start_ns == T0
        assert [d.t_s for d in out] == sorted(d.t_s for d in out)


def test_topics_are_matched_by_type_or_as_told(bag_path):
    with Bag(bag_path) as bag:
        assert {n: t.name for n, t in match_sensors(bag, SENSORS, {}).items()} == {"camera": "/cam/depth", "imu": "/imu/raw"}
        assert match_sensors(bag, SENSORS, {"camera": "cam/depth"})["camera"].count == 60
        assert find_battery(bag) is None
        for chosen, word in (
            ({"camera": "/nope"}, "not in the bag"),
            ({"camera": "/imu/raw"}, "sensor_msgs/msg/Image"),
            ({"sonar": "/imu/raw"}, "sonar.*not configured"),
        ):
            with pytest.raises(BagError, match=word):
                match_sensors(bag, SENSORS, chosen)


def test_repeat_moves_time_and_stamps_on(bag_path):
    with Bag(bag_path) as bag:
        out, truth = play(bag, repeat=2)
        assert len(out) == 2 * 210 and all(abs(stamp_of(d.raw) - T0 - d.t_s * 1e9) < 2000 for d in out)
        assert len(truth.sound_s["camera"]) == 120 and out[-1].t_s > 6.9


def test_faults_reach_only_their_sensor_and_truth_knows(bag_path):
    with Bag(bag_path) as bag:
        out, truth = play(bag, FaultScript((Fault("camera", "off", 1.0, 2.0),)))
        times = [d.t_s for d in out if d.topic == "/cam/depth"]
        assert len(times) == 40 and not any(1.0 <= t < 2.0 for t in times)
        assert len([d for d in out if d.topic == "/imu/raw"]) == 150
        assert len(truth.sound_s["camera"]) == 40 and len(truth.delivered_s["imu"]) == 150


def test_freeze_outlasts_the_end_of_the_recording(bag_path):
    with Bag(bag_path) as bag:
        out, truth = play(bag, FaultScript((Fault("camera", "freeze", 2.0, 4.0),)))
        assert [d for d in out if d.topic == "/cam/depth"][-1].t_s > 3.9
        assert max(truth.sound_s["camera"]) < 2.0


def test_stop_after(bag_path):
    with Bag(bag_path) as bag:
        assert 0.9 < play(bag, to_s=1.0)[0][-1].t_s <= 1.0


def test_absent_bag_broken_bag_and_empty_folder(tmp_path, bag_path):
    with pytest.raises(BagError, match="nothing there.*rosbag2 folder.*SENTRYFUSE_DATA"):
        Bag(tmp_path / "absent")
    with pytest.raises(BagError, match="metadata.yaml"):
        Bag(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in bag_path.iterdir():
        data = file.read_bytes()
        (broken / file.name).write_bytes(data if file.suffix == ".yaml" else data[: len(data) // 3])
    with pytest.raises(BagError, match="broken"):
        play(Bag(broken))


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
    parser = argparse.ArgumentParser()
    replay_verb.add_arguments(parser)
    with pytest.raises(Exception, match="/notes"):
        replay_verb.prepare(parser.parse_args([str(tmp_path / "bag")]))


def test_timeline_and_picture(tmp_path):
    predictions = [
        PredictionRow(0.1 * i, 0.1 * i, i % 7 != 0, "", "wave" if i < 20 else "clap", 0.8, (True, i < 20), 0.3, 2.0, 9.0, 3.0, i)
        for i in range(40)
    ]
    statuses = [
        StatusRow(0.1 * i, {"camera": ("OK" if i < 20 else "STALE", 30.0, ""), "imu": ("OK", 50.0, "")}) for i in range(40)
    ]
    script = FaultScript((Fault("camera", "off", 2.0, 3.0),), ((0.0, 100.0), (4.0, 10.0)))
    write_timeline(tmp_path / "t.csv", predictions, statuses, script)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert len(lines) == 41 and lines[0].startswith("t_s,valid,class_name,confidence,mask") and ",STALE,OK," in lines[-1]
    draw_timeline(tmp_path / "t.png", predictions, statuses, script, 4.0)
    import cv2

    assert cv2.imread(str(tmp_path / "t.png")).shape[0] > 800
    draw_timeline(tmp_path / "empty.png", [], [], FaultScript(), 1.0)


def test_live_view_renders_every_state():
    from types import SimpleNamespace as N

    from rich.console import Console

    from sentryfuse_ros.reporting.live_view import render
    from sentryfuse_ros.sensing.liveness import State

    sensors = [N(name=s.name.lower(), state=int(s), reason="why", rate_hz=3.0, age_s=0.1, model_input="camera") for s in State]
    prediction = N(
        valid=True,
        class_name="wave",
        confidence=0.7,
        modalities=["camera"],
        attention_share=[1.0],
        inference_ms=2.0,
        overhead_ms=3.0,
        reason="",
    )
    pruning = N(battery_percentage=0.4, ratio=0.5, flops=1e6, flops_dense=2e6, reason="battery 40 % asks 0.50")
    live = N(t_s=2.5, prediction=prediction, mask=N(sensors=sensors), pruning=pruning, info=None)
    script = FaultScript((Fault("ok", "freeze", 2.0, 3.0),))
    console = Console(width=120, record=True, file=open("/dev/null", "w"))
    console.print(render(live, script))
    text = console.export_text()
    assert all(s.name in text for s in State) and "wave" in text and "freeze" in text and "40 %" in text
    live.prediction = N(valid=False, reason="no live sensor")
    console.print(render(live, script))
    live.prediction = live.mask = live.pruning = None
    console.print(render(live, script))
    text = console.export_text()
    assert "no prediction: no live sensor" in text and "no prediction yet" in text


@pytest.mark.skipif(not (data_root() / "bags").exists(), reason="no development bags: set SENTRYFUSE_DATA")
def test_real_bags_open():
    for name, topic in (
        ("converted_utd_mhad_depth_imu", "camera"),
        ("husky_test1_ros2", "imu"),
        ("converted_ouster_os1_128", "lidar"),
    ):
        with Bag(data_root() / "bags" / name) as bag:
            assert topic in match_sensors(bag, SENSORS, {})
            assert play(bag, to_s=0.3)[0]
            assert abs(bag.start_ns) > NS


def test_a_topic_of_every_type_the_decoders_read_is_matched(tmp_path):
    """One list of types for node and bags: what the node can subscribe to, replay and dataset can take from a recording."""
    from types import SimpleNamespace

    from sentryfuse_ros.bags.bag import Topic, match_sensors
    from sentryfuse_ros.sensor_kinds import sensor_kind
    from sentryfuse_ros.settings import build_settings

    for sensor in build_settings({}).sensors:
        for msg_type in sensor_kind(sensor.kind).msg_types:
            bag = SimpleNamespace(topics={"/t": Topic("/t", msg_type, 5)})
            assert match_sensors(bag, [sensor], {})[sensor.name].msg_type == msg_type
