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
SHIPPED_PARAMETERS = os.path.join(SHARE, "config", "fuse.yaml")
# A node that ends at once must not be started a hundred times a second. But it must be back before nav2's lifecycle manager
# misses its bond (4 s): of a node that was killed and is not back, the manager waits for an answer for ever.
RESPAWN_DELAY_S = 1.0
SENSORS = ("camera", "imu", "audio", "lidar")
SWITCHES = ("use_sim_time", "autostart", "respawn")
LEVELS = ("debug", "info", "warn", "error", "fatal")
FALLS_BACK = "If empty, the value in the parameter file is used"
ARGUMENTS = {  # name: (default, description)
    "namespace": ("", "Namespace of the node and of its relative topics."),
    "name": ("fuse_node", "Name of the node, which its own topics begin with."),
    "params_file": (SHIPPED_PARAMETERS, "Parameter file of the node. The shipped file documents every parameter."),
    "model": ("", f"Checkpoint folder, or the name of a shipped model. {FALLS_BACK}."),
    "use_sim_time": ("", f"true: follow /clock. {FALLS_BACK}, or false if it has none."),
    "autostart": ("", f"false: wait for a lifecycle manager to configure and activate the node. {FALLS_BACK}, or true."),
    "respawn": ("false", "true: start the node again, after one second, whenever it ends."),
    "log_level": ("info", "Lowest severity that is logged: debug, info, warn, error or fatal."),
    "battery_topic": ("", f"Topic of the battery. {FALLS_BACK}."),
    "power_budget_topic": ("", f"Topic of the power budget. {FALLS_BACK}."),
    **{f"{sensor}_topic": ("", f"Topic of the sensor instance {sensor}. {FALLS_BACK}.") for sensor in SENSORS},
}


def make_node(context):
    """Check the arguments, and turn those that are not empty into parameters."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    for name in SWITCHES:
        if given[name].lower() not in ("", "true", "false"):
            raise RuntimeError(f"launch argument {name}: saw {given[name]!r}, expected true or false")
    if given["log_level"].rpartition(":=")[2].lower() not in LEVELS:  # rcl also takes LOGGER:=LEVEL
        raise RuntimeError(f"launch argument log_level: saw {given['log_level']!r}, expected one of {', '.join(LEVELS)}")
    if not os.path.isfile(given["params_file"]):  # launch_ros would leave out a folder, and start the node without the file
        raise RuntimeError(f"launch argument params_file: no file at {given['params_file']}")
    overrides = {name: given[name].lower() == "true" for name in ("use_sim_time", "autostart") if given[name]}
    overrides |= {name: given[name] for name in ("model", "battery_topic", "power_budget_topic") if given[name]}
    for sensor in SENSORS:
        if given[f"{sensor}_topic"]:
            overrides[f"{sensor}.topic"] = given[f"{sensor}_topic"]
    # Later parameters override earlier ones. `launch` puts those of SetParameter between `arguments` and `parameters`, so the
    # shipped defaults go to the first place and the user's file, which knows this node, to the second.
    arguments, parameters = ["--ros-args", "--log-level", given["log_level"]], []
    if given["params_file"] == SHIPPED_PARAMETERS:
        arguments += ["--params-file", SHIPPED_PARAMETERS]
    else:
        parameters.append(given["params_file"])
    if overrides:  # a dictionary becomes a block for this node's full name, which a block for the name alone cannot override
        parameters.append(overrides)
    return [
        Node(
            package="sentryfuse_ros",
            executable="fuse_node",
            name=given["name"],
            namespace=given["namespace"],
            output="screen",
            respawn=given["respawn"].lower() == "true",
            respawn_delay=RESPAWN_DELAY_S,
            parameters=parameters,
            arguments=arguments,
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
