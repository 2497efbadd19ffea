"""Building a window folder: splits by bag, interrupted runs, and what goes wrong with a user's own recordings."""

import json
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_maker import T0, labelled, write_topic_bag
from cdr_messages import STORE, imu, raw
from dataset_maker import SENSORS, SPECS, build, extract, labelled_runs
from rosbags.rosbag2 import StoragePlugin, Writer

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.find import find_bags
from sentryfuse_ros.bags.label_sources import read_intervals
from sentryfuse_ros.cli import main
from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.datasets.description import BagDescription, DatasetDescription
from sentryfuse_ros.datasets.extract import WindowSettings, extract_windows, ignored
from sentryfuse_ros.datasets.splits import DEFAULT_SHARES, assign_splits
from sentryfuse_ros.errors import BagError, DataError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.paths import share_path
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.reporting.dataset_console import notes, sensor_lines
from sentryfuse_ros.settings import build_settings, named_topics


@pytest.fixture
def bags(tmp_path):
    return labelled_runs(tmp_path)


def test_folder_keeps_bags_together_and_gives_back_what_was_extracted(tmp_path, bags):
    (bags[0] / "run.json").write_text(json.dumps({"split": "test", "disturbed": ["fog"]}))
    broken = tmp_path / "run9"
    shutil.copytree(bags[1], broken)
    (broken / "run9.mcap").write_bytes(b"nothing")
    for file in broken.glob("run1*"):
        file.unlink()
    about = build([*bags, broken], "intervals.csv", tmp_path / "set", 0.25, {"train": 0.6, "val": 0.4})
    assert about.classes == ("sand", "wood") and [b.name for b in about.left_out] == ["run9"]
    assert "run9" in about.left_out[0].error and not (tmp_path / "set" / "parts").exists()
    source = dataset(str(tmp_path / "set"))
    windows = source.load(SPECS)
    assert len(windows) == about.windows and source.CLASSES == ("sand", "wood")
    of_bag = {windows.recordings[i]: set(windows.groups[windows.recording == i]) for i in range(4)}
    assert all(len(splits) == 1 for splits in of_bag.values()) and of_bag["run0"] == {"test"}
    assert windows.conditions["fog"].tolist() == (windows.recording == 0).tolist()
    test = source.load(SPECS, ("test",))
    with Bag(bags[0]) as bag:
        found = extract(bag, read_intervals(bags[0] / "intervals.csv"), 0.25)
    np.testing.assert_array_equal(test.rows("imu", np.arange(len(test))), found.inputs["imu"])
    np.testing.assert_allclose(test.end_s, (found.end_ns - T0) / NS, atol=1e-3)
    assert [source.CLASSES[i] for i in test.labels] == found.labels


def test_an_interrupted_build_continues_where_it_stopped(tmp_path, bags, monkeypatch):
    seen, half_seen = [], []

    def stop(done):
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(bags, "intervals.csv", tmp_path / "set", progress=stop)
    parts = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "set" / "parts").glob("*.npz")}
    assert len(parts) == 2
    half = tmp_path / "set" / "parts" / "run2.npz.99.partial"  # as a process that is killed leaves it
    half.write_bytes(b"PK")
    with pytest.raises(DataError, match="dataset.json"):
        dataset(str(tmp_path / "set"))  # what is half made is not taken for a data set
    whole = build(bags, "intervals.csv", tmp_path / "other")
    resumed = build(bags, "intervals.csv", tmp_path / "set", progress=lambda _: half_seen.append(half.exists()))
    assert resumed.bags == whole.bags and half_seen and not any(half_seen)
    assert (tmp_path / "set" / "imu.npy").read_bytes() == (tmp_path / "other" / "imu.npy").read_bytes()


def test_a_build_that_was_killed_while_it_removed_its_parts_is_done_again(tmp_path, bags, monkeypatch):
    removed, unlink = [], Path.unlink

    def stop_after_one(path, *args, **kwargs):
        if path.parent.name == "parts" and path.suffix == ".npz":
            removed.append(path.name)
            if len(removed) > 1:
                raise KeyboardInterrupt
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        build(bags, "intervals.csv", tmp_path / "set")
    monkeypatch.undo()
    assert (tmp_path / "set" / "parts" / "settings.json").exists() and len(removed) == 2
    assert build(bags, "intervals.csv", tmp_path / "set").windows and not (tmp_path / "set" / "parts").exists()


def test_a_path_without_a_recording_is_named_before_anything_is_made(tmp_path, bags, capsys):
    paths = [str(bags[0]), str(tmp_path / "drive8"), str(tmp_path / "drive9")]
    recipe = str(share_path("config", "train_ground.yaml"))
    assert main(["dataset", *paths, "--labels", "intervals.csv", "--config", recipe, "--out", str(tmp_path / "set")]) == 2
    told = capsys.readouterr().err
    assert "2 mistakes" in told and all(f"bag {path}: saw nothing there" in told for path in paths[1:])
    assert not (tmp_path / "set").exists()


def test_a_full_disk_is_named_and_no_half_part_stays_on_it(tmp_path, bags):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # no file may be larger
    try:
        with pytest.raises(DataError, match="data set folder .*/set: saw File too large, expected room to write"):
            build(bags, "intervals.csv", tmp_path / "set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.suffix for path in (tmp_path / "set" / "parts").iterdir()} == {".json"}
    assert build(bags, "intervals.csv", tmp_path / "set").windows > 0


def test_splits_follow_the_shares_and_the_seed():
    def draw(seed):
        bags = [BagDescription(str(i), windows=5 + i % 3) for i in range(40)]
        return [bag.split for bag in assign_splits(bags, DEFAULT_SHARES, seed)]

    counts = {s: draw(0).count(s) for s in ("train", "val", "test")}
    assert draw(0) == draw(0) != draw(1) and 26 <= counts["train"] <= 30 and counts["val"] >= 5 and counts["test"] >= 5


def test_no_window_at_all_is_explained(tmp_path, bags):
    with pytest.raises(DataError, match="nowhere.csv"):
        build(bags, "nowhere.csv", tmp_path / "a")
    with pytest.raises(DataError, match="two called 'run0'"):
        build([bags[0], bags[0]], "intervals.csv", tmp_path / "b")


def test_corrected_labels_are_read_again(tmp_path, bags):
    table = tmp_path / "all.csv"
    table.write_text(f"t_from,t_to,label\n{T0 / NS + 100},{T0 / NS + 101},x\n")
    with pytest.raises(
        DataError,
        match="of bag run0: saw 1600000100.000 to 1600000101.000 s, expected .* 1600000000.000 to 1600000003.980 s",
    ):
        build(bags, str(table), tmp_path / "set")
    table.write_text(f"\ufefft_from,t_to,label\n{T0 / NS},{T0 / NS + 2},x\n{T0 / NS + 2},{T0 / NS + 4},y\n")  # as Excel writes it
    assert build(bags, str(table), tmp_path / "set").classes == ("x", "y")


def test_garbage_on_the_label_topic_leaves_out_that_bag_only(tmp_path, bags):
    with Writer(tmp_path / "bad", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
        text = writer.add_connection("/ground", "std_msgs/msg/String", typestore=STORE)
        writer.write(motion, T0, raw(imu(stamp_ns=T0)))
        writer.write(text, T0 + 1, b"\x00\x01\x00\x00\xff\xff\xff\x7fxx")
    good = write_topic_bag(tmp_path / "good")
    about = build([tmp_path / "bad", good], "/ground", tmp_path / "set")
    assert [b.name for b in about.bags] == ["good"] and "/ground" in about.left_out[0].error


def test_every_split_gets_a_bag_where_there_are_enough():
    bags = [BagDescription(str(i), windows=10) for i in range(4)]
    assert {bag.split for bag in assign_splits(bags, DEFAULT_SHARES, 0)} == {"train", "val", "test"}


def test_incomplete_part_is_extracted_again(tmp_path, bags):
    def stop(done):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(bags, "intervals.csv", tmp_path / "set", progress=stop)
    (tmp_path / "set" / "parts" / "run0.json").write_text('{"name": "ru')
    assert build(bags, "intervals.csv", tmp_path / "set").windows > 0


def test_every_recording_is_used_used_in_part_or_left_out_with_its_reason(tmp_path):
    """A folder of recordings of a fleet: good ones, one without metadata, one that breaks off, ROS 1, and an empty file."""
    fleet = tmp_path / "fleet"
    for name in ("good", "bare", "cut", "slow"):
        labelled(fleet / name, (0, 20, "sand"), (20, 30, "wood"), seconds=30, storage=StoragePlugin.MCAP)
    (fleet / "bare" / "metadata.yaml").unlink()
    (file,) = (fleet / "cut").glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    for name, data in (("ros1/old.bag", b"#ROSBAG V2.0\n"), ("empty/x.mcap", b"")):
        (fleet / name).parent.mkdir()
        (fleet / name).write_bytes(data)
    (fleet / "late").mkdir()
    with Writer(fleet / "late" / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
        for i in range(200):
            t = T0 + i * NS // 50
            writer.write(motion, t, raw(imu((0.1, 0.2, 1e-3 * i), (0, 0, 9.8), stamp_ns=t - 7200 * NS)))
    (fleet / "late" / "bag" / "intervals.csv").write_text(f"t_from,t_to,label\n{T0 / NS - 8000},{T0 / NS + 8000},sand\n")
    shutil.rmtree(fleet / "slow")
    with Writer(fleet / "slow", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
        for i in range(40):
            writer.write(motion, T0 + i * NS // 10, raw(imu((0.1, 0.2, 1e-3 * i), (0, 0, 9.8), stamp_ns=T0 + i * NS // 10)))
    (fleet / "slow" / "intervals.csv").write_text(f"t_from,t_to,label\n{T0 / NS},{T0 / NS + 9},sand\n")
    about = build(find_bags([fleet]), "intervals.csv", tmp_path / "set")
    used = {bag.name: bag for bag in about.bags}
    assert set(used) == {"good", "bare", "cut"} and used["bare"].windows == used["good"].windows > used["cut"].windows > 10
    assert "breaks off" in used["cut"].damage and not used["bare"].damage
    assert used["good"].rates_hz == {"camera": pytest.approx(20, abs=0.1), "imu": pytest.approx(50, abs=0.1)}
    why = {bag.name: bag.why_empty() for bag in about.left_out}
    assert set(why) == {"ros1", "empty", "bag", "slow"}
    assert "ROS 1" in why["ros1"] and "rosbags-convert" in why["ros1"] and "an empty file" in why["empty"]
    assert "10 messages per second, expected at least 20" in why["slow"]
    assert "latency 7200" in why["bag"] and "imu.trust_stamps: false" in why["bag"]


def test_one_mistake_in_many_bags_is_told_once(tmp_path, bags):
    for labels, told in (
        ("/no/labels", "label topic /no/labels: saw no such topic"),
        (str(tmp_path / "no.csv"), "saw No such file"),
    ):
        with pytest.raises(DataError) as caught:
            build(bags, labels, tmp_path / "set")
        assert str(caught.value).count(told) == 1 and f"run0 and {len(bags) - 1} more bags: " in str(caught.value)


def test_a_label_that_is_left_out_and_does_not_occur_is_warned_of(tmp_path, bags):
    data = build(bags, "intervals.csv", tmp_path / "set", ignore=("wood", "Wood"))
    assert data.classes == ("sand",) and all(bag.skipped[ignored("wood")] > 0 for bag in data.bags)
    told = [line for line in notes(data) if "--ignore" in line]
    assert told == ["warning: --ignore left out nothing for 'Wood', which no moment has; is it spelt as in the labels?"]


def test_a_recording_shorter_than_a_window_says_so(tmp_path):
    folder = labelled(tmp_path / "short", (0, 1, "sand"), seconds=0.6)
    with pytest.raises(DataError, match=r"short: .*the recording lasts 0.6 s, and a window of camera 1 s"):
        build([folder], "intervals.csv", tmp_path / "set", stride_s=0.1)


def test_windows_of_another_sensor_are_never_taken(tmp_path):
    """A data set was once evaluated with the wrong IMU: 34.6 % in place of 96.8 %."""
    folder = labelled(tmp_path / "run", (0, 3, "sand"))
    flat = {"sensors": ["imu"], "imu.topic": "/imu/data"}
    sensors = build_settings(flat).sensors
    settings = WindowSettings(SPECS[1:], sensors, 0.5, named=named_topics(flat))
    with Bag(folder) as bag, pytest.raises(BagError, match="imu/data is not in the recording, which has /imu/raw"):
        extract_windows(bag, read_intervals(folder / "intervals.csv"), settings)
    chosen = replace(settings, chosen={"imu": "imu/raw"})
    with Bag(folder) as bag:
        found = extract_windows(bag, read_intervals(folder / "intervals.csv"), chosen)
    assert found.topics == {"imu": "/imu/raw"} and len(found.labels) >= 3


def test_a_topic_may_be_chosen_for_a_sensor_that_the_recipe_does_not_use(tmp_path):
    """One list of --map serves `replay` and data sets of other sensors alike."""
    folder = labelled(tmp_path / "run", (0, 3, "sand"))
    settings = WindowSettings(SPECS[1:], SENSORS, 0.5, chosen={"camera": "/cam/depth"})
    with Bag(folder) as bag:
        assert extract_windows(bag, read_intervals(folder / "intervals.csv"), settings).topics == {"imu": "/imu/raw"}


def test_a_topic_for_a_sensor_that_there_is_not_is_refused_before_anything_is_read(tmp_path, bags, capsys):
    recipe, out = str(share_path("config", "train_ground.yaml")), tmp_path / "set"
    line = ["dataset", str(bags[0]), "--labels", "intervals.csv", "--config", recipe, "--out", str(out), "--map", "kamera:=/cam"]
    assert main(line) == 2
    assert "--map: saw sensor kamera, expected one of camera, imu, audio, lidar" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ["imu.npy", "windows.csv", "dataset.json", "parts/notes.txt"])
def test_what_somebody_else_wrote_is_never_touched(tmp_path, bags, name):
    out = tmp_path / "set"
    for other in (name, "camera_calibration.npy"):
        (out / other).parent.mkdir(parents=True, exist_ok=True)
        (out / other).write_bytes(b"somebody's work")
    with pytest.raises(DataError, match=f"did not write: {name.split('/')[0]}.*choose another --out"):
        build(bags, "intervals.csv", out)
    assert (out / name).read_bytes() == (out / "camera_calibration.npy").read_bytes() == b"somebody's work"
    (out / name).unlink()
    build(bags, "intervals.csv", out)  # another array in the folder does no harm, and none is done to it
    build(bags[:3], "intervals.csv", out)
    assert (out / "camera_calibration.npy").read_bytes() == b"somebody's work" and dataset(str(out)).load(SPECS)


def test_a_build_with_other_settings_replaces_its_own_files_only(tmp_path, bags):
    out = tmp_path / "set"
    build(bags, "intervals.csv", out)
    (out / "lidar.npy").write_bytes(b"somebody's work")

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(bags, "intervals.csv", out, 0.25, progress=stop)
    assert build(bags, "intervals.csv", out, 0.2).stride_s == 0.2
    assert (out / "lidar.npy").read_bytes() == b"somebody's work" and not (out / "parts").exists()


@pytest.mark.parametrize("rate_hz, options, warned", [(1.0, {}, True), (1.0, {"max_gap_s": 3.5}, False), (20.0, {}, False)])
def test_a_sensor_slower_than_the_silence_that_splits_its_windows_is_warned_of(rate_hz, options, warned):
    spec = ModalitySpec("imu", "imu", 10.0, (10, 6), options=options)
    bag = BagDescription("b", topics={"imu": "/imu/raw"}, rates_hz={"imu": rate_hz}, types={"/imu/raw": "sensor_msgs/msg/Imu"})
    data = replace(DatasetDescription.of("", "labels", WindowSettings((spec,), SENSORS)), bags=(bag,))
    told = [line for line in sensor_lines(data) if line.startswith("warning")]
    assert len(told) == warned and all("imu sends 1 Hz, and a silence of more than 0.5 s" in line for line in told)
