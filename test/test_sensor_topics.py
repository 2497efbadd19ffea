"""Which topic of a recording serves which sensor: the right one or none."""

from types import SimpleNamespace

import pytest

from sentryfuse_ros.bags.bag import Bag, Topic
from sentryfuse_ros.bags.sensor_topics import find_battery, match_sensors
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.paths import data_root
from sentryfuse_ros.sensor_kinds import sensor_kind
from sentryfuse_ros.settings import build_settings, named_topics

IMU, SCAN, CLOUD = "sensor_msgs/msg/Imu", "sensor_msgs/msg/LaserScan", "sensor_msgs/msg/PointCloud2"
IMAGE, JPEG, TEXT = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
BATTERY = "sensor_msgs/msg/BatteryState"
DEFAULT = build_settings({}).sensors
CASES = data_root() / "cases" / "recordings"


def bag(**topics):
    """Topics by keyword: imu_data=(type, count) is /imu/data, _imu_data is imu/data."""
    named = {}
    for key, (msg_type, count) in topics.items():
        name = key.replace("_", "/")
        name = name[1:] if name.startswith("/") else "/" + name
        named[name] = Topic(name, msg_type, count)
    return SimpleNamespace(topics=named)


def match(recording, parameters=None, chosen=None):
    flat = parameters or {}
    found = match_sensors(recording, build_settings(flat).sensors, chosen, named_topics(flat))
    return {name: topic.name for name, topic in found.topics.items()}, found


ONE_IMU = {"sensors": ["imu"], "imu.topic": "/imu/data"}


def test_the_name_decides_and_not_the_number_of_messages():
    assert match(bag(imu_data=(IMU, 4), imu_raw=(IMU, 900)), ONE_IMU)[0] == {"imu": "/imu/data"}


def test_a_leading_slash_makes_no_difference():
    recording = bag(_imu_data=(IMU, 400), _imu_raw=(IMU, 600))
    for topic in ("imu/data", "/imu/data"):
        assert match(recording, {"sensors": ["imu"], "imu.topic": topic})[0] == {"imu": "imu/data"}
        assert match(recording, chosen={"imu": topic})[0] == {"imu": "imu/data"}


def test_no_other_topic_serves_a_sensor_whose_topic_was_named():
    names, found = match(bag(imu_raw=(IMU, 600)), ONE_IMU)
    assert names == {} and "/imu/data is not in the recording, which has /imu/raw" in found.absent["imu"]
    assert "--map imu:=TOPIC" in found.absent["imu"]


def test_a_topic_that_another_sensor_names_is_never_taken():
    flat = {"sensors": ["front", "rear"], "front.kind": "imu", "rear.kind": "imu", "rear.topic": "/rear"}
    names, found = match(bag(rear=(IMU, 50)), flat)
    assert names == {"rear": "/rear"} and "front" in found.absent
    flat = {"sensors": ["front", "rear"], "front.kind": "imu", "rear.kind": "imu"}
    names, found = match(bag(body=(IMU, 50)), flat)
    assert names == {} and "could be that of rear as well" in found.absent["front"]


def test_a_relative_name_is_found_in_one_namespace():
    flat = {"sensors": ["imu"], "imu.topic": "imu/data"}
    assert match(bag(robot1_imu_data=(IMU, 5)), flat)[0] == {"imu": "/robot1/imu/data"}
    names, found = match(bag(robot1_imu_data=(IMU, 5), robot2_imu_data=(IMU, 5)), flat)
    assert names == {} and "several namespaces: /robot1/imu/data, /robot2/imu/data" in found.absent["imu"]
    assert match(bag(robot1_imu_data=(IMU, 5)), ONE_IMU)[0] == {}, "an absolute name is meant as it stands"
    assert match(bag(notimu_data=(IMU, 5)), flat)[0] == {}


def test_without_a_name_the_configured_type_decides():
    recording = bag(scan=(SCAN, 120), velodyne=(CLOUD, 30), left=(IMU, 3))
    names, found = match(recording)
    assert names == {"imu": "/left", "lidar": "/velodyne"} and any("taken by its type" in text for text in found.remarks)
    assert match(bag(scan=(SCAN, 120)))[0] == {"lidar": "/scan"}, "another type of the kind, if there is no other topic"
    names, found = match(bag(a=(CLOUD, 9), b=(CLOUD, 900)))
    assert names == {} and "any of /a, /b; give --map lidar:=TOPIC" in found.absent["lidar"]


def test_a_type_that_differs_is_said_or_refused():
    flat = {"sensors": ["camera"], "camera.topic": "/cam", "camera.type": IMAGE}
    names, found = match(bag(cam=(JPEG, 9)), flat)
    assert names == {"camera": "/cam"} and "set it so on the robot" in found.remarks[0]
    names, found = match(bag(cam=(TEXT, 9), other=(IMAGE, 9)), flat)
    assert names == {} and "/cam is std_msgs/msg/String" in found.absent["camera"]


def test_topics_without_messages_do_not_count():
    assert match(bag(imu_data=(IMU, 0)), ONE_IMU)[0] == {}
    names, found = match(bag(imu_data=(IMU, 0), imu_raw=(IMU, 50)))
    assert names == {} and found.absent["imu"] == "its topic /imu/data has no messages in the recording"


def test_a_chosen_topic_must_exist_and_fit():
    for chosen, words in (
        ({"camera": "/nope"}, "not in the bag"),
        ({"camera": "/imu/data"}, "sensor_msgs/msg/Image"),
        ({"sonar": "/imu/data"}, "sonar.*not configured"),
    ):
        with pytest.raises(BagError, match=words):
            match(bag(imu_data=(IMU, 5)), chosen=chosen)


def test_a_topic_of_every_type_the_decoders_read_is_matched():
    """One list of types for node and bags: what the node can subscribe to, replay and dataset can take from a recording."""
    for sensor in DEFAULT:
        for msg_type in sensor_kind(sensor.kind).msg_types:
            assert match_sensors(bag(t=(msg_type, 5)), [sensor]).topics[sensor.name].msg_type == msg_type


def test_the_battery_is_found_by_name_or_alone():
    assert find_battery(bag(a=(BATTERY, 3))).name == "/a"
    assert find_battery(bag(a=(BATTERY, 3)), "b", named=True) is None
    assert find_battery(bag(a=(BATTERY, 3), b=(BATTERY, 3)), "b").name == "/b"
    assert find_battery(bag(a=(BATTERY, 3), b=(BATTERY, 3))) is None and find_battery(bag(a=(IMU, 3))) is None


@pytest.mark.skipif(not CASES.exists(), reason="no cases: set SENTRYFUSE_DATA")
def test_recordings_from_the_field():
    with Bag(CASES / "relative_topics") as recording:
        assert match(recording, {"sensors": ["imu"], "imu.topic": "imu/data"})[0] == {"imu": "imu/data"}
    with Bag(CASES / "velo_and_scan") as recording:
        assert match(recording)[0] == {"lidar": "/velodyne_points"}
