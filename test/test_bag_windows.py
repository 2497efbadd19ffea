"""From recordings to labelled windows: labels from topics and tables, extraction, splits by bag, what is skipped and reported."""

import json
import shutil

import numpy as np
import pytest
from bag_maker import T0, write_bag
from cdr_messages import STORE, imu, raw
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.label_sources import read_intervals, read_topic
from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.datasets.builder import DEFAULT_SHARES, DatasetTask, assign_splits, build_dataset
from sentryfuse_ros.datasets.description import BagDescription
from sentryfuse_ros.datasets.extract import CHANGES, FILLING, JUMP, NO_LABEL, WindowSettings, extract_windows
from sentryfuse_ros.errors import BagError, DataError
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.preprocessing.normalise import normalise
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.settings import build_settings

SPECS = (ModalitySpec("camera", "camera", 1.0, (4, 1, 12, 16), "depth_m"), ModalitySpec("imu", "imu", 1.0, (20, 6)))
SENSORS = build_settings({"sensors": ["camera", "imu"], "camera.topic": "cam/depth", "imu.topic": "imu/raw"}).sensors
SPEED_TYPE = "my_robot_msgs/msg/Surface"


def extract(bag, labels, stride_s, sensors=SENSORS):
    return extract_windows(bag, labels, WindowSettings(SPECS, sensors, stride_s))


def build(bags, labels, out, stride_s=0.5, shares=DEFAULT_SHARES, progress=lambda done: None):
    return build_dataset(DatasetTask(tuple(bags), labels, WindowSettings(SPECS, SENSORS, stride_s), out, shares), progress)


def labelled(path, *rows, **options):
    """A bag with intervals.csv: rows (from, to, label) in seconds after its begin."""
    write_bag(path, **options)
    lines = [f"{T0 / NS + a:.9f},{T0 / NS + b:.9f},{label}" for a, b, label in rows]
    (path / "intervals.csv").write_text("\n".join(["t_from,t_to,label", *lines]) + "\n")
    return path


# labels


def test_labels_covering_a_stretch_of_time():
    labels = Labels.of([(0, 10, "sand"), (10, 20, "sand"), (30, 40, "wood")])
    assert labels.covering(0, 9) == labels.covering(2, 20) == ("sand",) and labels.covering(31, 40) == ("wood",)
    assert all(labels.covering(*stretch) == () for stretch in ((-1, 5), (15, 25), (22, 25), (35, 41)))
    joined = Labels.of([(0, 10, "sand"), (10, 20, "wood")])
    assert joined.covering(5, 15) == ("sand", "wood") and joined.covering(10, 20) == ("wood",)


@pytest.mark.parametrize(
    "text, word",
    [
        ("from,to,label\n", "t_from,t_to,label"),
        ("t_from,t_to,label\n1,x,sand\n", "line 2"),
        ("t_from,t_to,label\n2,1,sand\n", "line 2"),
        ("t_from,t_to,label\n1,2,\n", "line 2"),
        ("t_from,t_to,label\n1,3,sand\n2,4,wood\n", "overlap"),
        ("t_from,t_to,label\n1,nan,sand\n", "line 2"),
        ("", "t_from"),
    ],
)
def test_intervals_that_cannot_be_are_named(tmp_path, text, word):
    (tmp_path / "i.csv").write_text(text)
    with pytest.raises(DataError, match=word):
        read_intervals(tmp_path / "i.csv")


def test_one_table_for_many_bags(tmp_path):
    (tmp_path / "all.csv").write_text("bag,t_from,t_to,label\nb,3,4,wood\na,0,1,sand\na,1,2,wood\n")
    assert read_intervals(tmp_path / "all.csv", "a").names() == ("sand", "wood")
    assert [i.from_ns for i in read_intervals(tmp_path / "all.csv", "b").intervals] == [3 * NS]


def write_topic_bag(path, own_type=True):
    """IMU, the ground as text, and the ground in a type of the team's own whose definition is in the bag."""
    store = STORE
    if own_type:
        store.register(get_types_from_msg("std_msgs/Header header\nuint8 roughness\nstring label\n", SPEED_TYPE))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=store)
        text = writer.add_connection("/ground", "std_msgs/msg/String", typestore=store)
        own = writer.add_connection("/surface", SPEED_TYPE, typestore=store)
        head, stamp = store.types["std_msgs/msg/Header"], store.types["builtin_interfaces/msg/Time"]
        for i in range(400):
            t = T0 + i * NS // 100
            writer.write(motion, t, raw(imu(np.full(3, 0.01 * (i % 7)), (0, 0, 9.8 + 0.01 * (i % 5)), stamp_ns=t)))
            if i % 10 == 5:
                name = "sand" if i < 200 else "wood"
                message = store.types["std_msgs/msg/String"](name)
                writer.write(text, t, bytes(store.serialize_cdr(message, "std_msgs/msg/String")))
                surface = store.types[SPEED_TYPE](head(stamp((t - NS // 10) // NS, (t - NS // 10) % NS), ""), 3, name)
                writer.write(own, t, bytes(store.serialize_cdr(surface, SPEED_TYPE)))
    return path


def test_labels_from_topics_hold_until_the_next_message_also_of_own_types(tmp_path):
    with Bag(write_topic_bag(tmp_path / "b")) as bag:
        text, own = read_topic(bag, "/ground"), read_topic(bag, "/surface")
        assert text.covering(T0 + NS, T0 + int(1.9 * NS)) == ("sand",)
        assert text.covering(T0 + int(2.2 * NS), T0 + int(3.9 * NS)) == ("wood",)
        assert text.covering(T0 + NS, T0 + 3 * NS) == ("sand", "wood") and text.covering(T0, T0 + NS) == ()
        assert own.intervals[0].from_ns == text.intervals[0].from_ns - NS // 10  # by its own stamp, not by its time in the bag
        with pytest.raises(BagError, match="/imu/raw.*Imu"):
            read_topic(bag, "/imu/raw")
        with pytest.raises(BagError, match="/nothing.*/ground"):
            read_topic(bag, "/nothing")


# extraction


def test_windows_are_those_of_the_robot(tmp_path):
    """The same bag through the pipeline of the node, at the same moments, gives the same inputs to the bit."""
    folder = labelled(tmp_path / "b", (0, 4, "sand"), seconds=4)
    with Bag(folder) as bag:
        found = extract(bag, read_intervals(folder / "intervals.csv"), 0.5)
        engine = Engine(
            SentryFuse(
                FuseConfig(
                    SPECS,
                    ("sand", "wood"),
                    d_model=16,
                    layers=1,
                    num_kv_heads=2,
                    heads_per_group=1,
                    head_dim=4,
                    ffn_dim=16,
                    tokenizer={"imu": {"steps_per_token": 5}, "camera": {"grid": [1, 1]}},
                )
            )
        )
        pipeline = Pipeline(build_settings({"sensors": ["camera", "imu"]}), engine)
        due, waiting, seen = T0 + NS // 2, {"camera": [], "imu": []}, {}
        names = {"/cam/depth": "camera", "/imu/raw": "imu"}
        for topic, t, message in bag.messages(list(names)):
            while t > due:
                for name, rows in waiting.items():
                    if rows:
                        pipeline.feed(name, [m for _, m in rows], np.array([at for at, _ in rows]), due, due)
                        rows.clear()
                tick = pipeline.snapshot(due, due)
                seen[tick.snapshot.end_ns] = tick.inputs
                due += NS // 2
            waiting[names[topic]].append((t, message))
    assert len(found.labels) >= 5 and found.skipped[FILLING] >= 1 and not found.skipped[NO_LABEL]
    for i, end_ns in enumerate(found.end_ns.tolist()):
        for name, x in found.inputs.items():
            np.testing.assert_array_equal(x[i], seen[end_ns][name])
    assert found.live.all() and found.unused == {"/notes": "std_msgs/msg/String"}


def test_moments_without_one_label_are_skipped_and_counted(tmp_path):
    folder = labelled(tmp_path / "b", (0, 3, "sand"), (3, 5, "wood"), seconds=6)
    with Bag(folder) as bag:
        found = extract(bag, read_intervals(folder / "intervals.csv"), 0.5)
    ends = (found.end_ns - T0) / NS
    for end, label in zip(ends, found.labels, strict=True):
        assert (end <= 3 and label == "sand") or (end - 1 >= 3 - 1e-6 and end <= 5.01 and label == "wood")
    assert found.skipped[CHANGES] == 1 and found.skipped[NO_LABEL] == 1 and len(found.labels) == 8


def test_bag_without_a_sensor_gives_windows_without_it_and_one_without_any_is_refused(tmp_path):
    folder = labelled(tmp_path / "b", (0, 3, "sand"), camera=False)
    with Bag(folder) as bag:
        found = extract(bag, read_intervals(folder / "intervals.csv"), 0.5)
        assert not found.live[:, 0].any() and found.live[:, 1].all() and not found.inputs["camera"].any()
        only_lidar = build_settings({"sensors": ["lidar"], "lidar.model_input": "imu"}).sensors
        with pytest.raises(BagError, match="/imu/raw.*lidar"):
            extract(bag, Labels(), 0.5, only_lidar)


# folder


@pytest.fixture
def bags(tmp_path):
    return [labelled(tmp_path / f"run{i}", (0, 2, "sand"), (2, 4, "wood"), seconds=4) for i in range(4)]


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


def test_killed_build_goes_on_where_it_was(tmp_path, bags, monkeypatch):
    seen = []

    def stop(done):
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(bags, "intervals.csv", tmp_path / "set", progress=stop)
    parts = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "set" / "parts").glob("*.npz")}
    assert len(parts) == 2
    with pytest.raises(DataError, match="dataset.json"):
        dataset(str(tmp_path / "set"))  # what is half made is not taken for a data set
    whole = build(bags, "intervals.csv", tmp_path / "other")
    resumed = build(bags, "intervals.csv", tmp_path / "set")
    assert resumed.bags == whole.bags
    assert (tmp_path / "set" / "imu.npy").read_bytes() == (tmp_path / "other" / "imu.npy").read_bytes()


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


def test_damaged_folder_and_other_windows_are_refused_by_name(tmp_path, bags):
    build(bags, "intervals.csv", tmp_path / "set")
    longer = (ModalitySpec("imu", "imu", 2.0, (20, 6)),)
    with pytest.raises(DataError, match="'imu'.*sentryfuse|'imu'.*make the data set again"):
        dataset(str(tmp_path / "set")).load(longer)
    with pytest.raises(DataError, match="audio"):
        dataset(str(tmp_path / "set")).load((ModalitySpec("audio", "audio", 1.0, (20, 16)),))
    np.save(tmp_path / "set" / "imu.npy", np.zeros((3, 20, 6), np.float32))
    with pytest.raises(DataError, match="imu.npy"):
        dataset(str(tmp_path / "set")).load(SPECS)
    (tmp_path / "set" / "windows.csv").write_text("bag\n")
    with pytest.raises(DataError, match="windows.csv"):
        dataset(str(tmp_path / "set")).load(SPECS)


@pytest.mark.parametrize(
    "spec",
    [
        ModalitySpec("camera", "camera", 1.0, (2, 3, 4, 5), "rgb", mean=(0.1, 0.2, 0.3), std=(2, 3, 4)),
        ModalitySpec("depth", "camera", 1.0, (2, 1, 4, 5), "depth_m", mean=(1.0,), std=(2,)),
        ModalitySpec("lidar", "lidar", 1.0, (2, 4, 3, 5), mean=(1, 2, 3, 4), std=(2, 3, 4, 5)),
        ModalitySpec("imu", "imu", 1.0, (10, 6), mean=(1, 2, 3, 4, 5, 6), std=(1, 2, 3, 4, 5, 6)),
        ModalitySpec("audio", "audio", 0.5, (10, 8), mean=(-5.0,) * 8, std=(2.0,) * 8),
    ],
    ids=lambda s: s.name,
)
def test_mean_and_std_applied_afterwards_give_what_the_robot_computes(spec):
    from dataclasses import replace

    from sentryfuse_ros.preprocessing import model_input

    rng = np.random.default_rng(0)
    count = 8000 if spec.kind == "audio" else 20
    stamps = (np.arange(count) * NS) // (16000 if spec.kind == "audio" else 40) + NS // 3
    rows = rng.random((count, *spec.row_shape), np.float32) + 0.1
    if spec.kind == "lidar" or spec.encoding == "depth_m":
        rows *= rng.random((count, 1, *spec.row_shape[1:])) > 0.3
    end = int(stamps[-1]) + NS // 10
    unnormalised = model_input(replace(spec, mean=(), std=()), stamps, rows, end)
    np.testing.assert_allclose(normalise(spec, unnormalised[None])[0], model_input(spec, stamps, rows, end), atol=2e-5)


# what goes wrong on a user's own recordings


def test_corrected_labels_are_read_again(tmp_path, bags):
    table = tmp_path / "all.csv"
    table.write_text(f"t_from,t_to,label\n{T0 / NS + 100},{T0 / NS + 101},x\n")
    with pytest.raises(DataError, match="no label there"):
        build(bags, str(table), tmp_path / "set")
    table.write_text(f"\ufefft_from,t_to,label\n{T0 / NS},{T0 / NS + 2},x\n{T0 / NS + 2},{T0 / NS + 4},y\n")  # as Excel writes it
    assert build(bags, str(table), tmp_path / "set").classes == ("x", "y")


def test_a_table_without_rows_of_this_bag_says_so(tmp_path):
    (tmp_path / "all.csv").write_text("bag,t_from,t_to,label\nother,0,1,sand\n")
    with pytest.raises(DataError, match="rows of other only.*rows of bag mine"):
        read_intervals(tmp_path / "all.csv", "mine")


def test_message_logged_before_the_clock_was_set_is_stepped_over(tmp_path):
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
        for t in [1_000_000, *(T0 + i * NS // 50 for i in range(200))]:
            writer.write(motion, t, raw(imu((0.1, 0.2, 1e-3 * (t % 97)), (0, 0, 9.8), stamp_ns=t)))
    with Bag(tmp_path / "b") as bag:
        found = extract(bag, Labels.of([(T0, T0 + 4 * NS, "sand")]), 0.5)
    assert found.skipped[JUMP] == 1 and len(found.labels) >= 4


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


def test_relief_of_a_picture_that_does_not_go_around_knows_no_other_side():
    from sentryfuse_ros.preprocessing.lidar import lidar_frame

    spec = ModalitySpec(
        "lidar", "lidar", 1.0, (1, 5, 1, 40), options={"azimuth_fov_deg": 90, "min_elevation_deg": -80, "max_elevation_deg": 80}
    )
    azimuth = np.radians(45 - (np.arange(40) + 0.5) * 90 / 40)
    points = np.stack([2 * np.cos(azimuth), 2 * np.sin(azimuth), -0.5 + 0.02 * np.arange(40)], 1)  # a steady slope
    relief = lidar_frame(points, spec)[4, 0]
    assert np.abs(relief[4:-4]).max() < 1e-5 and np.abs(relief).max() <= 0.04 + 1e-5
