"""The definition of a message type in a recording: .msg text, .idl text, none, or one that cannot be read."""

import numpy as np
import pytest
from bag_maker import T0
from cdr_messages import STORE, imu, raw
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.label_sources import read_topic
from sentryfuse_ros.bags.message_types import definition_of
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS

GROUND = "idl_msgs/msg/Ground"
LINE = "=" * 80 + "\nIDL: "
# As rosbag2 writes the type of a package that has .idl files: all types, in any order.
TIME = (
    LINE
    + """builtin_interfaces/msg/Time
// generated from rosidl_adapter/resource/msg.idl.em
module builtin_interfaces {
  module msg {
    @verbatim (language="comment", text="This message communicates ROS Time.")
    struct Time {
      int32 sec;
      uint32 nanosec;
    };
  };
};
"""
)
HEADER = (
    LINE
    + """std_msgs/msg/Header
#include "builtin_interfaces/msg/Time.idl"
module std_msgs {
  module msg {
    struct Header {
      builtin_interfaces::msg::Time stamp;
      string frame_id;
    };
  };
};
"""
)
ROOT = (
    LINE
    + """idl_msgs/msg/Ground
#include "std_msgs/msg/Header.idl"

module idl_msgs {
  module msg {
    module Ground_Constants {
      const uint8 ROUGH = 3;
    };
    typedef double double__3[3];
    struct Ground {
      std_msgs::msg::Header header;
      string label;
      double__3 slope;
      sequence<float> samples;
    };
  };
};
"""
)


def write_ground_bag(path, definition, storage=StoragePlugin.MCAP):
    """The ground as messages of a type of a package with .idl files, beside an IMU."""
    store = STORE
    store.register(get_types_from_msg("std_msgs/Header header\nstring label\nfloat64[3] slope\nfloat32[] samples\n", GROUND))
    head, stamp = store.types["std_msgs/msg/Header"], store.types["builtin_interfaces/msg/Time"]
    with Writer(path, version=9, storage_plugin=storage) as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=store)
        ground = writer.add_connection("/ground", GROUND, msgdef=definition, rihs01="RIHS01_" + "0" * 64)
        for i in range(20):
            t = T0 + i * NS // 10
            writer.write(motion, t, raw(imu(np.zeros(3), (0, 0, 9.8), stamp_ns=t)))
            label = "sand" if i < 10 else "wood"
            message = store.types[GROUND](head(stamp(t // NS, t % NS), ""), label, np.zeros(3), np.zeros(2, np.float32))
            writer.write(ground, t, bytes(store.serialize_cdr(message, GROUND)))
    return path


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("definition", [ROOT + HEADER + TIME, TIME + HEADER + ROOT], ids=["first", "last"])
def test_a_type_of_idl_files_is_read_by_its_definition(tmp_path, definition, storage):
    with Bag(write_ground_bag(tmp_path / "run", definition, storage)) as bag:
        assert bag.topics["/ground"].has_header
        labels = read_topic(bag, "/ground")
        assert [interval.label for interval in labels.intervals] == ["sand"] * 10 + ["wood"] * 10
        assert list(definition_of(bag, "/ground").fields) == ["header", "label", "slope", "samples"]


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (ROOT.replace("double__3[3]", "double__3["), "idl_msgs/msg/Ground with a definition as .idl text that cannot be read"),
        (HEADER + TIME, "idl_msgs/msg/Ground with a definition as .idl text that cannot be read"),
        ("float64[3 slope\n", "idl_msgs/msg/Ground with a definition as .msg text that cannot be read"),
        (" ", "idl_msgs/msg/Ground without a definition in the recording.* where the package idl_msgs is installed"),
    ],
    ids=["damaged", "another type", "damaged .msg", "none"],
)
def test_a_definition_that_cannot_be_used_is_named(tmp_path, definition, words):
    with Bag(write_ground_bag(tmp_path / "run", definition)) as bag, pytest.raises(BagError, match=f"topic /ground: .*{words}"):
        read_topic(bag, "/ground")
