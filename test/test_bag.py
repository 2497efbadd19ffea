"""Reading bags, and matching their topics to sensors."""

import pytest
from bag_maker import T0, write_bag
from bag_player import SENSORS, play
from rosbags.rosbag2 import StoragePlugin

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.paths import data_root


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "run")


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_both_storages_are_read(tmp_path, storage):
    with Bag(write_bag(tmp_path / "bag", 1.0, storage)) as bag:
        out, _ = play(bag)
        assert len(out) == 70 and bag.start_ns == T0
        assert [d.t_s for d in out] == sorted(d.t_s for d in out)


def test_absent_bag_and_empty_folder(tmp_path):
    with pytest.raises(BagError, match="nothing there.*rosbag2 folder.*check the path"):
        Bag(tmp_path / "absent")
    with pytest.raises(BagError, match="no recording there.*mcap or db3"):
        Bag(tmp_path)


@pytest.mark.skipif(not (data_root() / "bags").exists(), reason="no development bags: set SENTRYFUSE_DATA")
def test_real_bags_open():
    for name, topic in (
        ("converted_utd_mhad_depth_imu", "camera"),
        ("husky_test1_ros2", "imu"),
        ("converted_ouster_os1_128", "lidar"),
    ):
        with Bag(data_root() / "bags" / name) as bag:
            assert topic in match_sensors(bag, SENSORS).topics
            assert play(bag, to_s=0.3)[0]
            assert abs(bag.start_ns) > NS
