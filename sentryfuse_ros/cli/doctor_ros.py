"""What `sentryfuse doctor` finds of ROS 2: the installation, the domain, and the transport of messages."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from ..errors import ParameterError, SentryFuseError
from ..machine import ros_distribution
from ..nodes.door import RMW_REMEDY, RosInstallation, find_ros
from ..paths import executable_path, share_path
from ..replay.ros_domain import SAFE_DOMAINS, domain_of
from .findings import BAD, NOTE, OK, Finding, version

ROS_PACKAGES = (  # without one of these the nodes do not start
    "rclpy",
    "ament_index_python",
    "builtin_interfaces",
    "diagnostic_msgs",
    "lifecycle_msgs",
    "nav_msgs",
    "rcl_interfaces",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "visualization_msgs",
)
OPTIONAL_ROS = (  # package, and what is lost without it
    ("launch", "ros2 launch cannot start the node"),
    ("launch_ros", "ros2 launch cannot start the node"),
    ("message_filters", "SnapshotSynchronizer has no other filters to be connected to"),
    ("launch_testing", "launch tests are skipped"),
    ("bondpy", "nav2's lifecycle manager needs bond_timeout: 0.0"),
    ("vision_msgs", "~/classification is not published"),
)
FAST_DDS_2 = ("humble", "iron", "jazzy")  # the ROS distributions that come with it
FREE_SHARED_MEMORY_MB = 256  # The transport profile takes a segment of 32 MB for each process.
RMEM_MAX_BYTES = 2_097_152


def check_ros() -> Iterator[Finding]:
    ros = find_ros()
    if ros is None:
        remedy = "run make setup, or source /opt/ros/<distro>/setup.bash"
        yield Finding(BAD, "ROS 2", "no rclpy in this environment", remedy)
        return
    distro = ros_distribution() or "unknown"
    yield Finding(OK, "ROS 2", f"{distro}, rclpy {version('ros-rclpy', 'rclpy') or version('rclpy')}")
    if ros.refusal:
        yield Finding(BAD, "RMW", f"{ros.rmw} of RMW_IMPLEMENTATION does not start: {ros.refusal}", RMW_REMEDY)
    else:
        yield Finding(OK if "fastrtps" in ros.rmw or "cyclone" in ros.rmw else NOTE, "RMW", ros.rmw)
    missing = [name for name in ROS_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        remedy = "rosdep install --from-paths src -y --ignore-src"
        yield Finding(BAD, "ROS packages", f"not installed: {', '.join(missing)}", remedy)
    else:
        yield Finding(OK, "ROS packages", f"all {len(ROS_PACKAGES)} that the nodes need")
    if importlib.util.find_spec("sentryfuse_ros.msg") is None:
        remedy = "run make setup, or colcon build and source install/setup.bash"
        yield Finding(BAD, "messages", "sentryfuse_ros.msg is not built", remedy)
    else:
        yield Finding(OK, "messages", "sentryfuse_ros.msg is built")
    try:
        yield Finding(OK, "fuse_node", str(executable_path("fuse_node")))
    except SentryFuseError as error:
        yield Finding(BAD, "fuse_node", str(error), "run colcon build")
    if not ros.refusal:
        yield from check_rclpy(ros)
    for name, loss in OPTIONAL_ROS:
        if importlib.util.find_spec(name) is not None:
            yield Finding(OK, name, "installed")
        else:
            yield Finding(NOTE, name, f"not installed: {loss}")
    yield check_domain()
    yield from check_discovery()


def check_rclpy(ros: RosInstallation) -> Iterator[Finding]:
    """What this rclpy can do, by version and distribution."""
    if ros.has_events_executor:
        yield Finding(OK, "executor", "events executor")
    else:
        yield Finding(NOTE, "executor", "single-threaded: this rclpy has no events executor")
    if ros.takes_serialized_messages:
        yield Finding(OK, "receive path", "raw: messages are taken without a callback each")
    else:
        yield Finding(NOTE, "receive path", "ordinary callbacks, which take about three times the CPU")


def check_domain() -> Finding:
    """The ROS domain; without a valid one no node starts."""
    variable = os.environ.get("ROS_DOMAIN_ID", "")
    if not variable:
        return Finding(OK, "ROS_DOMAIN_ID", "0 (default)")
    try:
        domain = domain_of(variable)
    except ParameterError as error:
        return Finding(BAD, "ROS_DOMAIN_ID", f"{error.seen}, expected {error.expected}", error.remedy or "")
    if domain not in SAFE_DOMAINS:
        found = f"{domain}: Linux gives the ports of domains above {SAFE_DOMAINS.stop - 1} to other programs"
        return Finding(NOTE, "ROS_DOMAIN_ID", found, f"choose 0 to {SAFE_DOMAINS.stop - 1}")
    return Finding(OK, "ROS_DOMAIN_ID", variable)


def check_discovery() -> Iterator[Finding]:
    """What keeps the node from finding drivers, so that their sensors stay NEVER_SEEN."""
    if os.environ.get("ROS_LOCALHOST_ONLY") == "1":  # rcl then does not look at the other variable
        found = "ROS_LOCALHOST_ONLY is 1: nodes of other machines are not found"
        yield Finding(NOTE, "discovery", found, "unset it if drivers run there")
        return
    if os.environ.get("ROS_DISTRO") == "humble":  # which does not know the other variable
        return
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if reach == "OFF":
        found = "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF: nodes find no others, not even on this machine"
        yield Finding(BAD, "discovery", found, "unset it, or set it to SUBNET")
    elif reach not in ("", "SUBNET", "SYSTEM_DEFAULT"):  # rcl takes a value that it does not know for LOCALHOST
        found = f"ROS_AUTOMATIC_DISCOVERY_RANGE is {reach}: nodes of other machines are not found"
        yield Finding(NOTE, "discovery", found, "set it to SUBNET if drivers run there")


def check_transport() -> Iterator[Finding]:
    if "fastrtps" in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        yield check_profile()
    shm = Path("/dev/shm")
    if shm.exists():
        stat = os.statvfs(shm)
        free_mb = stat.f_bavail * stat.f_frsize / 1e6
        found = f"{free_mb:.0f} MB free in /dev/shm"
        if free_mb > FREE_SHARED_MEMORY_MB:
            yield Finding(OK, "shared memory", found)
        else:
            remedy = "enlarge it (docker run --shm-size=1g), or large messages will be lost"
            yield Finding(BAD, "shared memory", found, remedy)
    path = Path("/proc/sys/net/core/rmem_max")
    if path.exists():
        value = int(path.read_text())
        if value >= RMEM_MAX_BYTES:
            yield Finding(OK, "net.core.rmem_max", str(value))
        else:
            remedy = f"if sensors are on other machines: sysctl -w net.core.rmem_max={RMEM_MAX_BYTES}"
            yield Finding(NOTE, "net.core.rmem_max", str(value), remedy)


def check_profile() -> Finding:
    """Fast DDS's profile for large messages, as the environment names it."""
    distro = ros_distribution()
    # Fast DDS 3, which came with Kilted, reads a variable of another name.
    variable = "FASTRTPS_DEFAULT_PROFILES_FILE" if distro.startswith(FAST_DDS_2) else "FASTDDS_DEFAULT_PROFILES_FILE"
    profile = os.environ.get(variable)
    export = f"export {variable}={shlex.quote(str(share_path('config', 'fastdds_large_messages.xml')))}"
    if not profile:
        found = "none: best-effort images and clouds of more than about 512 KB will be lost"
        return Finding(NOTE, "transport profile", found, f"in the shell that starts your drivers: {export}")
    if not Path(profile).exists():
        return Finding(BAD, "transport profile", f"{profile} does not exist", export)
    return Finding(OK, "transport profile", profile)
