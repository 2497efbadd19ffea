"""The recording: reproducible, complete, labelled, and readable by the rest of the package."""

import csv
import json
import re

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.drive_truth import read_truth
from sentryfuse_ros.bags.find import find_bags
from sentryfuse_ros.bags.label_sources import read_intervals
from sentryfuse_ros.bags.sensor_topics import find_battery
from sentryfuse_ros.cli import simulate as verb
from sentryfuse_ros.decoders import PayloadFault, make_decoder
from sentryfuse_ros.errors import BagError, DataError, ParameterError
from sentryfuse_ros.simulation.new_recording import new_recording
from sentryfuse_ros.simulation.recorder import TOPICS
from sentryfuse_ros.simulation.run import START_NS, simulate

DURATION_S = 6.0
RATES_HZ = {"camera": 10, "imu": 200, "audio": 50, "lidar": 10, "battery": 1, "odometry": 50, "truth": 10}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulation") / "run"
    simulate(7, DURATION_S, folder)
    return folder


def contents(folder):
    """{topic: [(time ns, bytes)]}"""
    with AnyReader([folder]) as reader:
        found = {topic: [] for topic, _ in TOPICS.values()}
        for connection, time_ns, raw in reader.messages():
            found[connection.topic].append((time_ns, bytes(raw)))
    return found


def messages(folder, name):
    with AnyReader([folder]) as reader:
        chosen = [c for c in reader.connections if c.topic == TOPICS[name][0]]
        return [(t, reader.deserialize(raw, c.msgtype)) for c, t, raw in reader.messages(chosen)]


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_a_seed_gives_the_same_bag_again(bag, tmp_path):
    simulate(7, DURATION_S, tmp_path / "run")
    assert contents(tmp_path / "run") == contents(bag)
    for name in ("intervals.csv", "truth.csv", "run.json", "run.mcap"):
        assert (tmp_path / "run" / name).read_bytes() == (bag / name).read_bytes()


def test_a_longer_run_begins_with_the_shorter_one_and_seeds_differ(bag, tmp_path):
    simulate(7, 2.0, tmp_path / "short")
    simulate(8, 2.0, tmp_path / "other")
    long, short, other = contents(bag), contents(tmp_path / "short"), contents(tmp_path / "other")
    for topic, entries in short.items():
        assert entries and entries == long[topic][: len(entries)]
        if topic != TOPICS["truth"][0]:
            assert entries[0][1] != other[topic][0][1]


def test_every_topic_comes_at_its_rate_with_rising_stamps(bag):
    with AnyReader([bag]) as reader:
        kinds = {c.topic: c.msgtype for c in reader.connections}
    assert kinds == dict(TOPICS.values())
    for name, rate_hz in RATES_HZ.items():
        received = messages(bag, name)
        assert len(received) == pytest.approx(rate_hz * DURATION_S, abs=2)
        if name == "truth":
            continue
        stamps = np.array([stamp_ns(m) for _, m in received])
        assert set(np.diff(stamps)) == {10**9 // rate_hz}
        assert START_NS <= stamps[0] and stamps[-1] <= START_NS + DURATION_S * 1e9
        delays = np.array([t for t, _ in received]) - stamps
        assert 0 <= delays.min() and delays.max() < 0.05e9  # a chunk of sound is stamped at its first sample


def test_messages_hold_what_their_definitions_say(bag):
    _, image = messages(bag, "camera")[3]
    assert image.encoding == "rgb8" and len(image.data) == image.height * image.step == 3 * image.height * image.width
    _, cloud = messages(bag, "lidar")[3]
    assert [f.name for f in cloud.fields] == ["x", "y", "z", "intensity"] and len(cloud.data) == 16 * cloud.width
    _, chunk = messages(bag, "audio")[3]
    assert chunk.sample_rate == 16000 and chunk.channels == 1 and len(chunk.samples) == 320
    charge = [m.percentage for _, m in messages(bag, "battery")]
    assert all(a > b for a, b in zip(charge, charge[1:])) and 0 < charge[-1] < charge[0] <= 1
    pose = messages(bag, "odometry")[-1][1].pose.pose.position
    assert np.hypot(pose.x, pose.y) > 1.0


@pytest.mark.parametrize("name, kind", [("camera", "camera"), ("imu", "imu"), ("audio", "audio"), ("lidar", "lidar")])
def test_the_package_reads_what_it_recorded(bag, name, kind):
    topic, msg_type = TOPICS[name]
    batch = make_decoder(kind, msg_type).decode([raw for _, raw in contents(bag)[topic]])
    assert set(batch.fault) == {PayloadFault.NONE}, batch.error
    assert len(set(batch.fingerprint)) == len(batch.fingerprint)


def test_replay_finds_battery_and_topics(bag):
    opened = Bag(bag)
    battery = find_battery(opened)
    assert battery is not None and battery.name == TOPICS["battery"][0]
    assert opened.duration_s == pytest.approx(DURATION_S, abs=0.1)


def test_intervals_cover_the_run_and_agree_with_the_topic(bag):
    with open(bag / "intervals.csv") as file:
        rows = list(csv.DictReader(file))
    edges = [(float(r["t_from"]), float(r["t_to"])) for r in rows]
    assert edges[0][0] == START_NS * 1e-9 and edges[-1][1] == pytest.approx(START_NS * 1e-9 + DURATION_S, abs=0.03)
    assert all(a[1] == b[0] for a, b in zip(edges, edges[1:])) and all(a < b for a, b in edges)
    assert all(a["label"] != b["label"] for a, b in zip(rows, rows[1:]))
    for time_ns, message in messages(bag, "truth"):
        labels = {r["label"] for r, (a, b) in zip(rows, edges) if a <= time_ns * 1e-9 <= b}
        assert message.data in labels


def test_the_truth_agrees_with_the_intervals_the_odometry_and_the_map(bag):
    truth = read_truth(bag)
    assert [m.stamp_ns for m in truth] == [START_NS + k * 10**8 for k in range(1, round(DURATION_S * 10) + 1)]
    labels = read_intervals(bag / "intervals.csv")
    assert all(labels.at(m.stamp_ns - 1) == m.ground or labels.at(m.stamp_ns) == m.ground for m in truth)
    odometry = {stamp_ns(m): m.twist.twist for _, m in messages(bag, "odometry")}
    wheel_speed = np.array([odometry[m.stamp_ns].linear.x for m in truth])
    turn_rate = np.array([odometry[m.stamp_ns].angular.z for m in truth])
    assert np.abs(wheel_speed - [m.speed_mps for m in truth]).mean() < 0.05  # the wheels slip a little
    np.testing.assert_allclose([m.turn_rad_s for m in truth], turn_rate, atol=1e-4)
    steps = np.hypot(np.diff([m.x_m for m in truth]), np.diff([m.y_m for m in truth]))
    assert steps.sum() == pytest.approx(sum(m.speed_mps for m in truth[1:]) / 10, rel=0.05)
    patches = json.loads((bag / "run.json").read_text())["patches"]

    def ground_at(x_m, y_m):
        return next(p["class"] for p in patches if abs(p["x_m"] - x_m) <= 2.5 and abs(p["y_m"] - y_m) <= 2.5)

    seen = [m for m in truth if m.ahead]
    assert seen and {m.ahead_m for m in truth if not m.ahead} <= {0.0}
    for m in seen:
        before, after = (
            ground_at(m.x_m + d * np.cos(m.yaw_rad), m.y_m + d * np.sin(m.yaw_rad)) for d in (m.ahead_m - 0.06, m.ahead_m + 0.01)
        )
        assert (before, after) == (m.ground, m.ahead)


def test_the_truth_of_an_older_recording_is_made_by_driving_again(bag, tmp_path, capsys):
    series(tmp_path, "--seed", "4", "--duration", "1", "--count", "1")
    path = tmp_path / "val_000004" / "truth.csv"
    expected = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        read_truth(path.parent)
    series(tmp_path, "--seed", "4", "--duration", "1", "--count", "1")
    assert path.read_bytes() == expected and "1 older ones got their truth.csv" in capsys.readouterr().out
    intervals = path.with_name("intervals.csv")
    path.unlink()
    names = ("asphalt", "gravel", "grass", "sand", "tiles", "wood")
    intervals.write_text(re.sub("|".join(names), lambda m: names[names.index(m[0]) - 1], intervals.read_text()))
    with pytest.raises(BagError, match="another ground"):
        series(tmp_path, "--seed", "4", "--duration", "1", "--count", "1")


@pytest.mark.parametrize(
    "text", ["t,ground\n1.0,sand\n", "t,x_m,y_m,yaw_rad,speed_mps,turn_rad_s,ground,ahead,ahead_m\nx,0,0,0,0,0,a,b,0\n"]
)
def test_a_damaged_truth_file_is_named(tmp_path, text):
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(DataError, match="truth.csv"):
        read_truth(tmp_path)


def test_run_file_says_how_it_was_made(bag):
    about = json.loads((bag / "run.json").read_text())
    assert (about["split"], about["seed"], about["world"]) == ("train", 7, 7)
    assert set(about["nuisances"]) > {"darkness", "wind", "speed_mps"} and len(about["patches"]) == 12


@pytest.mark.parametrize(
    "change",
    [
        dict(duration_s=0.0),
        dict(duration_s=1e5),
        dict(seed=-1),
        dict(split="dev"),
        dict(nuisances=["hail"]),
        dict(battery_wh=0.0),
        dict(battery_start=2.0),
    ],
)
def test_a_bad_value_is_named_and_leaves_no_files(tmp_path, change):
    with pytest.raises(ParameterError, match="expected"):
        simulate(**{**dict(seed=1, duration_s=2.0, out=tmp_path / "run"), **change})
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_overwritten(bag, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(BagError, match="does not exist"):
        simulate(1, 2.0, tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError):
        simulate(1, 2.0, tmp_path / "file" / "run")


def test_an_interrupted_run_leaves_no_files(tmp_path):
    def stop(done_s):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(1, 2.0, tmp_path / "run", progress=stop)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_leaves_is_not_taken_for_a_recording(tmp_path):
    with new_recording(tmp_path / "runs" / "one") as folder:
        folder.mkdir(parents=True)
        (folder / "one.mcap").write_bytes(b"half of it")
        assert find_bags([tmp_path]) == [tmp_path], "which is no recording"
    assert find_bags([tmp_path]) == [tmp_path / "runs" / "one"]


def test_the_simulate_command(tmp_path, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    line = ["--seed", "3", "--duration", "1", "--split", "test", "--out", str(tmp_path / "run"), "--nuisance", "none", "fog=0.7"]
    assert verb.run(parser.parse_args(line)) == 0
    said = capsys.readouterr().out
    assert "world 2000003 (test)" in said and "fog 0.70" in said and "real time" in said


@pytest.mark.parametrize(("option", "value"), [("--jobs", "2"), ("--scheduler", "127.0.0.1:8786")])
def test_one_recording_is_made_by_one_process(tmp_path, option, value):
    import argparse

    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    line = ["--seed", "3", "--duration", "1", "--out", str(tmp_path / "run"), option, value]
    with pytest.raises(ParameterError, match=f"{option}: saw no --count, expected --count K beside it"):
        verb.run(parser.parse_args(line))


def series(out, *more):
    import argparse

    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args(["--out", str(out), "--split", "val", *more]))


def test_a_series_keeps_its_bags_but_refuses_those_of_another_duration(tmp_path, capsys):
    series(tmp_path, "--seed", "4", "--duration", "1", "--count", "1")
    made = (tmp_path / "val_000004" / "run.json").stat().st_mtime_ns
    series(tmp_path, "--seed", "4", "--duration", "1", "--count", "1")
    assert "0 of them made now" in capsys.readouterr().out and (tmp_path / "val_000004" / "run.json").stat().st_mtime_ns == made
    with pytest.raises(BagError, match="val_000004: saw one of 1.0 s there already, expected one of 2 s"):
        series(tmp_path, "--seed", "3", "--duration", "2", "--count", "2")
    assert [p.name for p in tmp_path.iterdir()] == ["val_000004"]  # refused before anything is made


def test_a_series_refuses_bags_that_were_disturbed_otherwise(tmp_path):
    same = ("--seed", "4", "--duration", "1", "--count", "1")
    series(tmp_path, *same, "--nuisance", "none", "mud=0.5")
    series(tmp_path, *same, "--nuisance", "none", "mud=0.5")
    with pytest.raises(BagError, match="val_000004: saw one there already with darkness 0, mud 0.5, expected darkness 1, mud 0;"):
        series(tmp_path, *same, "--nuisance", "none", "darkness=1")
    with pytest.raises(BagError, match="give the same --nuisance"):
        series(tmp_path, *same)


def test_a_series_refuses_bags_of_an_earlier_version_that_lack_a_nuisance(tmp_path):
    same = ("--seed", "4", "--duration", "1", "--count", "1", "--nuisance", "none")
    series(tmp_path, *same)
    path = tmp_path / "val_000004" / "run.json"
    about = json.loads(path.read_text())
    del about["nuisances"]["shadows"]
    path.write_text(json.dumps(about))
    series(tmp_path, *same)
    with pytest.raises(BagError, match="one there already with shadows 0, expected shadows 0.9;"):
        series(tmp_path, *same, "shadows=0.9")


def test_a_series_refuses_bags_with_another_battery(tmp_path):
    same = ("--seed", "4", "--duration", "1", "--count", "1")
    series(tmp_path, *same, "--battery-wh", "5", "--battery-start", "0.75")
    series(tmp_path, *same, "--battery-wh", "5", "--battery-start", "0.75")
    with pytest.raises(BagError, match="with capacity in Wh 5, expected capacity in Wh 20; give the same --battery-wh"):
        series(tmp_path, *same, "--battery-start", "0.75")
    with pytest.raises(BagError, match="with charge at the start 0.75, expected charge at the start 0"):
        series(tmp_path, *same, "--battery-wh", "5")
    path = tmp_path / "val_000004" / "run.json"
    about = json.loads(path.read_text())
    assert (about.pop("battery_wh"), about.pop("battery_start")) == (5.0, 0.75)
    path.write_text(json.dumps(about))  # as an earlier version wrote it
    series(tmp_path, *same)


def test_a_series_refuses_a_run_file_it_cannot_read(tmp_path):
    (tmp_path / "val_000004").mkdir()
    (tmp_path / "val_000004" / "run.json").write_text("[]")
    with pytest.raises(BagError, match="unreadable run.json"):
        series(tmp_path, "--seed", "4", "--duration", "1", "--count", "1")


@pytest.mark.parametrize("first, count", [("999999", "2"), ("-1", "1")])
def test_a_series_checks_its_last_seed_before_it_starts(tmp_path, first, count):
    with pytest.raises(ParameterError, match="expected seeds in 0 to 999999"):
        series(tmp_path, f"--seed={first}", "--duration", "1", "--count", count)
    assert not list(tmp_path.iterdir())
