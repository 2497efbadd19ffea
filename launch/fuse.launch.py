"""Start fuse_node.

ros2 launch sentryfuse_ros fuse.launch.py camera_topic:=/front/depth imu_topic:=/imu/data params_file:=my_robot.yaml
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

SHARE = get_package_share_directory("sentryfuse_ros")
SENSORS = ("camera", "imu", "audio", "lidar")
ARGUMENTS = {
    "namespace": ("", "Namespace of the node and of relative topics."),
    "params_file": (os.path.join(SHARE, "config", "fuse.yaml"), "Parameters; the shipped file documents each."),
    "model": ("", "Checkpoint folder or name; empty takes the parameter file's."),
    "use_sim_time": ("", "true follows /clock; empty takes the parameter file's, or false."),
    "autostart": ("", "false leaves configure and activate to a lifecycle manager; empty takes the parameter file's, or true."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
    **{f"{sensor}_topic": ("", f"Topic of the {sensor}; empty takes the parameter file's.") for sensor in SENSORS},
}


def make_node(context):
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    for name in ("use_sim_time", "autostart"):
        if given[name].lower() not in ("", "true", "false"):
            raise RuntimeError(f"launch argument {name}: saw {given[name]!r}, expected true or false")
    if not os.path.exists(given["params_file"]):
        raise RuntimeError(f"launch argument params_file: no file at {given['params_file']}")
    overrides = {name: given[name].lower() == "true" for name in ("use_sim_time", "autostart") if given[name]}
    if given["model"]:
        overrides["model"] = given["model"]
    for sensor in SENSORS:
        if given[f"{sensor}_topic"]:
            overrides[f"{sensor}.topic"] = given[f"{sensor}_topic"]
    return [
        Node(
            package="sentryfuse_ros",
            executable="fuse_node",
            name="fuse_node",
            namespace=given["namespace"],
            output="screen",
            parameters=[given["params_file"], *([overrides] if overrides else [])],
            arguments=["--ros-args", "--log-level", given["log_level"]],
        )
    ]


def generate_launch_description():
    profile = os.path.join(SHARE, "config", "fastdds_large_messages.xml")
    return LaunchDescription(
        [
            *[
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ],
            # Large images and clouds are lost with Fast DDS's default segment; a profile of your own is respected.
            # The first name is read up to Jazzy, the second from Kilted on.
            *[
                SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile))
                for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
            ],
            OpaqueFunction(function=make_node),
        ]
    )
