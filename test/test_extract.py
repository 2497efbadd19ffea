"""Extraction of windows: the same as on the robot, and what is skipped."""

import numpy as np
import pytest
from bag_maker import T0, labelled
from cdr_messages import STORE, imu, raw
from dataset_maker import SPECS, extract
from rosbags.rosbag2 import StoragePlugin, Writer

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.label_sources import read_intervals
from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.datasets.extract import CHANGES, FILLING, JUMP, NO_LABEL
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.settings import build_settings


def test_windows_are_those_of_the_robot(tmp_path):
    """The same bag through the pipeline of the node, at the same moments, gives the same inputs to the bit."""
    folder = labelled(tmp_path / "b", (0, 4, "sand"), seconds=4)
    with Bag(folder) as bag:
        found = extract(bag, read_intervals(folder / "intervals.csv"), 0.5)
        engine = Engine.from_model(
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
        due, seen = T0 + NS // 2, {}
        names = {"/cam/depth": "camera", "/imu/raw": "imu"}
        for topic, t, message in bag.messages(list(names)):
            while t > due:
                tick = pipeline.snapshot(due, due)
                seen[tick.snapshot.end_ns] = tick.inputs
                due += NS // 2
            pipeline.feed(names[topic], [message], np.array([t]), t, t)
    assert len(found.labels) >= 5 and found.skipped[FILLING] >= 1 and not found.skipped[NO_LABEL]
    for i, end_ns in enumerate(found.end_ns.tolist()):
        for name, x in found.inputs.items():
            np.testing.assert_array_equal(x[i], seen[end_ns][name])
    assert found.live.all() and found.unused == {"/notes": "std_msgs/msg/String"}


def test_moments_without_one_label_are_skipped_and_counted(tmp_path):
    folder = labelled(tmp_path / "b", (0, 3, "sand"), (3, 5, "wood"), seconds=6)
    with Bag(folder) as bag:
        found = extract(bag, read_intervals(folder / "intervals.csv"), 0.5, label_at="whole")
    ends = (found.end_ns - T0) / NS
    for end, label in zip(ends, found.labels, strict=True):
        assert (end <= 3 and label == "sand") or (end - 1 >= 3 - 1e-6 and end <= 5.01 and label == "wood")
    assert found.skipped[CHANGES] == 1 and found.skipped[NO_LABEL] == 1 and len(found.labels) == 8


def test_a_window_has_the_label_of_its_end(tmp_path):
    folder = labelled(tmp_path / "b", (0, 2, "sand"), (2, 3, "sand"), (3, 5, "wood"), (5.5, 7, "sand"), seconds=7)
    with Bag(folder) as bag:
        found = extract(bag, read_intervals(folder / "intervals.csv"), 0.25)
        steady = extract(bag, read_intervals(folder / "intervals.csv"), 0.25, label_at="whole")
    ends = (found.end_ns - T0) / NS
    for end, label, whole, since in zip(ends, found.labels, found.steady, found.since_change_s, strict=True):
        # A sample at the very border is the last of the label before it.
        assert label == ("sand" if end <= 3 + 1e-6 or end > 5.5 else "wood")
        assert whole == (1 - 1e-6 <= end <= 3 + 1e-6 or 4 - 1e-6 <= end <= 5 or end >= 6.5 - 1e-6)
        assert np.isnan(since) if end <= 3 + 1e-6 else since == pytest.approx(end - (3 if end <= 5 else 5.5), abs=1e-6)
    assert (~found.steady).sum() >= 6 and found.end_ns[found.steady].tolist() == steady.end_ns.tolist() and steady.steady.all()
    assert found.skipped[NO_LABEL] >= 1 and not found.skipped[CHANGES] and steady.skipped[CHANGES] == (~found.steady).sum()


def test_bag_without_a_sensor_gives_windows_without_it_and_one_without_any_is_refused(tmp_path):
    folder = labelled(tmp_path / "b", (0, 3, "sand"), camera=False)
    with Bag(folder) as bag:
        found = extract(bag, read_intervals(folder / "intervals.csv"), 0.5)
        assert not found.live[:, 0].any() and found.live[:, 1].all() and not found.inputs["camera"].any()
        only_lidar = build_settings({"sensors": ["lidar"], "lidar.model_input": "imu"}).sensors
        with pytest.raises(BagError, match="/imu/raw.*lidar"):
            extract(bag, Labels(), 0.5, only_lidar)


def test_a_message_from_before_the_clock_was_set_is_skipped(tmp_path):
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
        for t in [1_000_000, *(T0 + i * NS // 50 for i in range(200))]:
            writer.write(motion, t, raw(imu((0.1, 0.2, 1e-3 * (t % 97)), (0, 0, 9.8), stamp_ns=t)))
    with Bag(tmp_path / "b") as bag:
        found = extract(bag, Labels.of([(T0, T0 + 4 * NS, "sand")]), 0.5)
    assert found.skipped[JUMP] == 1 and len(found.labels) >= 4


def test_windows_after_the_clock_was_set_are_as_full_as_those_at_the_beginning(tmp_path):
    begins = (10 * NS, T0)
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
        for t in (begin + i * NS // 50 for begin in begins for i in range(150)):
            writer.write(motion, t, raw(imu((0.1, 0.2, 1e-3 * (t % 97)), (0, 0, 9.8), stamp_ns=t)))
    with Bag(tmp_path / "b") as bag:
        found = extract(bag, Labels.of([(begin, begin + 3 * NS, "sand") for begin in begins]), 0.25)
    steps = SPECS[1].shape[0]
    assert all(x.any(axis=1).sum() >= steps - 1 for x in found.inputs["imu"])
    assert all((found.end_ns // NS == (begin + NS) // NS).sum() == 4 for begin in begins) and found.skipped[FILLING] == 6
