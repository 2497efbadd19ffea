"""What the first messages of a topic tell: its rate, however its messages came to the recorder."""

import numpy as np
import pytest
from bag_maker import T0
from cdr_messages import STORE, imu, raw
from rosbags.rosbag2 import StoragePlugin, Writer

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.topic_facts import topic_facts
from sentryfuse_ros.nanoseconds import NS_PER_S as NS


def rate_of(path, times_s):
    """The rate of a topic whose messages were recorded at these times after the beginning."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/imu", "sensor_msgs/msg/Imu", typestore=STORE)
        for t_s in times_s:
            writer.write(topic, T0 + round(t_s * NS), raw(imu(stamp_ns=T0)))
    with Bag(path) as bag:
        return topic_facts(bag, bag.topics["/imu"]).rate_hz


@pytest.mark.parametrize("together", [2, 5, 20])
def test_messages_that_were_recorded_in_bursts_have_the_rate_of_their_sensor(tmp_path, together):
    sent = np.arange(200)
    assert rate_of(tmp_path / "b", sent // together * together / 50 + sent % together * 1e-4) == pytest.approx(50, rel=0.01)


def test_a_pause_does_not_change_the_rate(tmp_path):
    times_s = np.arange(100) / 50
    times_s[30:] += 7.0
    times_s[60:] += 4.0
    assert rate_of(tmp_path / "b", times_s) == pytest.approx(50, rel=0.01)


def test_one_message_has_no_rate(tmp_path):
    assert rate_of(tmp_path / "b", [0.0]) == 0.0
