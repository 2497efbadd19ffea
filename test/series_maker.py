"""A robot with motors: recordings of numbers in three message types, the sensors that read them, and a model of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bag_maker import T0
from cdr_messages import header, make, raw
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import save_checkpoint
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec

RATE_HZ = 50
BUMPER_TYPE = "my_robot_msgs/msg/Bumper"  # a team's own type, installed nowhere
SPECS = (ModalitySpec("wheels", "series", 1.0, (20, 4)), ModalitySpec("command", "series", 1.0, (10, 2)))
BUMPER_SPEC = ModalitySpec("bumper", "series", 1.0, (10, 3))
PARAMETERS: dict[str, Any] = {
    "sensors": ["wheels", "command"],
    "wheels": {
        "kind": "series",
        "topic": "/joint_states",
        "type": "sensor_msgs/msg/JointState",
        "fields": ["effort[0:2]", "velocity[0:2]"],
        "field_min": [-20.0, -50.0],
        "field_max": [20.0, 50.0],
    },
    "command": {
        "kind": "series",
        "topic": "/wheel_command",
        "type": "std_msgs/msg/Float32MultiArray",
        "fields": ["data[0:2]"],
    },
}
BUMPER = {"kind": "series", "topic": "/bumper", "type": BUMPER_TYPE, "fields": ["cells[0:2].force", "gap_m"]}


def efforts(t_s: float) -> list[float]:
    """Torque of both motors [N m] and, behind them, what must not be read."""
    return [2.0 + math.sin(7 * t_s), -2.0 + math.cos(5 * t_s), 99.0]


def joint_state(t_s: float, stamp_ns: int) -> Any:
    numbers = np.array([0.0, 0.0, 0.0]), np.array([3 * t_s, -3 * t_s, 0.0]), np.array(efforts(t_s))
    return make("sensor_msgs/JointState", header(stamp_ns), ["left", "right", "lift"], *numbers)


def command(t_s: float) -> Any:
    return make(
        "std_msgs/Float32MultiArray",
        make("std_msgs/MultiArrayLayout", [make("std_msgs/MultiArrayDimension", "wheel", 2, 2)], 0),
        np.array([t_s, 1 - t_s], np.float32),
    )


def write_motor_bag(path: Path, seconds: float = 4.0, bumper: bool = False, from_s: float = 0.0) -> Path:
    """Joint states with a header, commands without one, and on request a bumper in a type whose definition only the bag has."""
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("string name\nfloat32 force\n", "my_robot_msgs/msg/Cell"))
    store.register(get_types_from_msg("std_msgs/Header header\nCell[] cells\nfloat64 gap_m\n", BUMPER_TYPE))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        joints = writer.add_connection("/joint_states", "sensor_msgs/msg/JointState", typestore=store)
        commands = writer.add_connection("/wheel_command", "std_msgs/msg/Float32MultiArray", typestore=store)
        cells = writer.add_connection("/bumper", BUMPER_TYPE, typestore=store) if bumper else None
        for i in range(round(seconds * RATE_HZ)):
            t_s, now_ns = from_s + i / RATE_HZ, T0 + i * NS // RATE_HZ
            writer.write(joints, now_ns, raw(joint_state(t_s, now_ns)))
            writer.write(commands, now_ns, raw(command(t_s)))
            if cells is not None:
                cell = store.types["my_robot_msgs/msg/Cell"]
                message = store.types[BUMPER_TYPE](header(now_ns), [cell("l" * (i % 5), t_s), cell("r", -t_s)], 0.1 + t_s)
                writer.write(cells, now_ns, bytes(store.serialize_cdr(message, BUMPER_TYPE)))
    (path / "intervals.csv").write_text(f"t_from,t_to,label\n{T0 / NS:.9f},{T0 / NS + seconds:.9f},gravel\n")
    return path


def save_series_model(folder: Path, specs: Sequence[ModalitySpec], classes: Sequence[str] = ("gravel", "mud")) -> Path:
    """A checkpoint with random weights for inputs whose windows are steps of values."""
    torch.manual_seed(0)
    config = FuseConfig(
        modalities=tuple(specs),
        classes=tuple(classes),
        d_model=16,
        layers=2,
        num_kv_heads=2,
        head_dim=4,
        ffn_dim=32,
        readout_heads=2,
        gate_hidden=4,
        tokenizer={spec.name: {"steps_per_token": 5, "stem_channels": 4} for spec in specs},
    )
    save_checkpoint(SentryFuse(config), folder)
    return folder


def save_motor_model(folder: Path) -> Path:
    """A checkpoint with random weights for `SPECS`."""
    return save_series_model(folder, SPECS)
