"""Reading bags, and matching their topics to sensors."""

import pytest
from bag_maker import T0, write_bag
from rosbags.rosbag2 import StoragePlugin

from sentryfuse_ros.bags.bag import Bag, find_battery, match_sensors
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.paths import data_root
from sentryfuse_ros.replay.faults import FaultScript
from sentryfuse_ros.replay.schedule import DeliveryLog, Schedule, deliveries
from sentryfuse_ros.settings import build_settings

SENSORS = build_settings({}).sensors


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "run")


NO_FAULTS = FaultScript()


def play(bag, script=NO_FAULTS, repeat=1, to_s=float("inf")):
    log = DeliveryLog()
    schedule = Schedule(match_sensors(bag, SENSORS, {}), script=script, repeat=repeat, gap_s=1.0, to_s=to_s)
    return list(deliveries(bag, schedule, log)), log


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_both_storages_are_read(tmp_path, storage):
    with Bag(write_bag(tmp_path / "bag", 1.0, storage)) as bag:
        out, _ = play(bag)
        assert len(out) == 70 and bag.start_ns == T0
        assert [d.t_s for d in out] == sorted(d.t_s for d in out)


def test_topics_are_matched_by_type_or_as_chosen(bag_path):
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


def test_absent_bag_broken_bag_and_empty_folder(tmp_path, bag_path):
    with pytest.raises(BagError, match="nothing there.*rosbag2 folder.*check the path"):
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
