"""A robot whose two wheels have a topic each, of other types and rates: recordings, parameters and a model of one input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bag_maker import T0
from cdr_messages import header, make, raw
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from series_maker import save_series_model

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.message_types import definition_of
from sentryfuse_ros.decoders.message_definition import Message
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec

LEFT_HZ, RIGHT_HZ = 50, 13
LEFT_TYPE, RIGHT_TYPE = "std_msgs/msg/Float32", "geometry_msgs/msg/WrenchStamped"
SPEC = ModalitySpec("wheels", "series", 2.0, (20, 2))
PARAMETERS: dict[str, Any] = {
    "sensors": ["wheel_left", "wheel_right"],
    "wheel_left": {
        "kind": "series",
        "topic": "/wheel_left",
        "type": LEFT_TYPE,
        "fields": ["data"],
        "model_input": "wheels",
        "part": 1,
    },
    "wheel_right": {
        "kind": "series",
        "topic": "/wheel_right",
        "type": RIGHT_TYPE,
        "fields": ["wrench.force.x"],
        "model_input": "wheels",
        "part": 2,
    },
}


def left(t_s: Any) -> Any:
    """What the left wheel measures."""
    return 2.0 + np.sin(t_s)


def right(t_s: Any) -> Any:
    """What the right wheel measures."""
    return -3.0 + np.cos(t_s)


def left_message(t_s: float) -> Any:
    return make("std_msgs/Float32", float(left(t_s)))


def right_message(t_s: float, stamp_ns: int) -> Any:
    force, torque = (make("geometry_msgs/Vector3", x, 0.1, t_s) for x in (float(right(t_s)), 0.0))
    return make("geometry_msgs/WrenchStamped", header(stamp_ns), make("geometry_msgs/Wrench", force, torque))


def write_wheel_bag(path: Path, seconds: float = 6.0, right_hz: float = RIGHT_HZ, with_right: bool = True) -> Path:
    """Both topics, the right one a little behind the left one; without a header on the left one."""
    store = get_typestore(Stores.ROS2_JAZZY)
    messages = [(T0 + i * NS // LEFT_HZ, 0, i / LEFT_HZ) for i in range(round(seconds * LEFT_HZ))]
    if with_right:
        messages += [(T0 + round((i / right_hz + 0.007) * NS), 1, i / right_hz + 0.007) for i in range(round(seconds * right_hz))]
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        one = writer.add_connection("/wheel_left", LEFT_TYPE, typestore=store)
        other = writer.add_connection("/wheel_right", RIGHT_TYPE, typestore=store) if with_right else None
        for now_ns, place, t_s in sorted(messages):
            if place and other is not None:
                writer.write(other, now_ns, raw(right_message(t_s, now_ns)))
            else:
                writer.write(one, now_ns, raw(left_message(t_s)))
    (path / "intervals.csv").write_text(f"t_from,t_to,label\n{T0 / NS:.9f},{T0 / NS + seconds:.9f},gravel\n")
    return path


def definitions(folder: Path) -> dict[str, Message]:
    """The definitions of both message types."""
    with Bag(write_wheel_bag(folder / "definitions", 1.0)) as bag:
        return {topic.msg_type: definition_of(bag, topic.name) for topic in bag.topics.values()}


def save_wheel_model(folder: Path) -> Path:
    """A checkpoint with random weights for `SPEC`."""
    return save_series_model(folder, [SPEC])
