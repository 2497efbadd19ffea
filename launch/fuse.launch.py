"""Start fuse_node.

ros2 launch sentryfuse_ros fuse.launch.py camera_topic:=/front/depth imu_topic:=/imu/data params_file:=my_robot.yaml
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = get_package_share_directory("sentryfuse_ros")
SENSORS = ("camera", "imu", "audio", "lidar")
FALLS_BACK = "If empty, the value in the parameter file is used"
ARGUMENTS = {  # name: (default, description)
    "namespace": ("", "Namespace of the node and of its relative topics."),
    "params_file": (
        os.path.join(SHARE, "config", "fuse.yaml"),
        "Parameter file of the node. The shipped file documents every parameter.",
    ),
    "model": ("", f"Checkpoint folder, or the name of a shipped model. {FALLS_BACK}."),
    "use_sim_time": ("", f"true: follow /clock. {FALLS_BACK}, or false if it has none."),
    "autostart": ("", f"false: wait for a lifecycle manager to configure and activate the node. {FALLS_BACK}, or true."),
    "log_level": ("info", "Lowest severity that is logged: debug, info, warn, error or fatal."),
    **{f"{sensor}_topic": ("", f"Topic of the sensor instance {sensor}. {FALLS_BACK}.") for sensor in SENSORS},
}


def make_node(context):
    """Check the arguments, and turn those that are not empty into parameters."""
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
    return LaunchDescription(
        [
            *[
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ],
            OpaqueFunction(function=make_node),
        ]
    )
