"""`sentryfuse doctor`: what is installed, what is missing or would lose messages, and what to do about it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import ParameterError, SentryFuseError
from ..machine import ros_distribution
from ..nodes.door import RMW_REMEDY, RosInstallation, find_ros
from ..paths import data_root, executable_path, model_path, share_path
from ..replay.ros_domain import SAFE_DOMAINS, domain_of
from ..runtime.cpu_priority import ORDINARY, REALTIME, allowed_level
from ..runtime.power_rails import KINDS, power_rails

OK, NOTE, BAD = "ok", "note", "BAD"


class Library(NamedTuple):
    """A Python library that the package needs, and how a robot gets it."""

    name: str  # on PyPI
    module: str
    apt: str = ""  # Debian's package, which rosdep installs; "" where pip does it


LIBRARIES = (  # with BACKENDS and the packages of ROS, all that package.xml and the README install
    Library("numpy", "numpy", "python3-numpy"),
    Library("opencv-python-headless", "cv2", "python3-opencv"),
    Library("PyYAML", "yaml", "python3-yaml"),
    Library("matplotlib", "matplotlib", "python3-matplotlib"),
    Library("jinja2", "jinja2", "python3-jinja2"),
    Library("rich", "rich", "python3-rich"),
    Library("rosbags", "rosbags"),
    Library("safetensors", "safetensors"),
)
BACKENDS = (  # one of them runs the model; what is lost without the other
    ("onnxruntime", "the model runs on torch, which is slower"),
    ("torch", "models cannot be trained or evaluated here; fuse_node does not need it"),
)
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


class Finding(NamedTuple):
    """One line of the answer; ``remedy`` is empty where there is nothing to do."""

    level: str  # "ok", "note" (works, but something is lost) or "BAD" (does not work)
    what: str
    found: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="ground_robot", help="checkpoint to check (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print all findings; 1 if one of them is BAD."""
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "python": check_python,
        "ROS 2": check_ros,
        "transport": check_transport,
        "model": lambda: check_model(args.model),
        "CPU priority": check_scheduling,
        "power sensors": check_power,
        "SENTRYFUSE_DATA": check_data,
    }
    findings = [finding for subject, check in checks.items() for finding in as_far_as_possible(subject, check)]
    if args.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        for level, what, found, remedy in findings:
            print(f"{level:>4}  {what:<26} {found}" + (f"\n{'':>34}remedy: {remedy}" if remedy else ""))
    return 1 if any(finding.level == BAD for finding in findings) else 0


def as_far_as_possible(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a check finds, also where a library is missing that the check itself needs."""
    try:
        yield from check()
    except ImportError as error:
        yield Finding(BAD, subject, f"not checked any further: {error}", "install the package that is named here, and ask again")


def version(distribution: str, module: str | None = None) -> str | None:
    """Version of the distribution of an installed module, "installed" for a module without one, None for neither."""
    if importlib.util.find_spec(module or distribution) is None:
        return None
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def opencv_version() -> str | None:
    """OpenCV goes by several names: pip's with and without windows, and Debian's python3-opencv."""
    if importlib.util.find_spec("cv2") is None:
        return None
    if importlib.util.find_spec("numpy") is None:  # cv2 could not be imported, and would print a remedy of its own
        return "installed"
    import cv2

    return cv2.__version__


def check_python() -> Iterator[Finding]:
    here = f"{platform.python_version()} at {sys.executable}"
    supported = (3, 10) <= sys.version_info[:2] <= (3, 13)
    yield Finding(OK, "python", here) if supported else Finding(BAD, "python", here, "use Python 3.10 to 3.13")
    for name, module, apt in LIBRARIES:
        found = opencv_version() if module == "cv2" else version(name, module)
        if found:
            yield Finding(OK, name, found)
        else:
            remedy = f"pip install {name} (requirements.txt has the version)"
            yield Finding(BAD, name, "not installed", f"apt install {apt}, or {remedy}" if apt else remedy)
    backends = {name: version(name, name) for name, _ in BACKENDS}
    for name, loss in BACKENDS:
        if backends[name]:
            yield Finding(OK, name, str(backends[name]))
        elif any(backends.values()):
            yield Finding(NOTE, name, f"not installed: {loss}", f"pip install {name} (requirements.txt has the version)")
        else:
            yield Finding(BAD, name, "not installed: no library runs the model", f"pip install {name}")
    if backends["torch"]:
        import torch

        found = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; the model runs on the CPU"
        yield Finding(OK, "CUDA", found)
    yield Finding(OK, "CPU cores", str(os.cpu_count()))


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
    export = f"export {variable}={share_path('config', 'fastdds_large_messages.xml')}"
    if not profile:
        found = "none: best-effort images and clouds of more than about 512 KB will be lost"
        return Finding(NOTE, "transport profile", found, f"in the shell that starts your drivers: {export}")
    if not Path(profile).exists():
        return Finding(BAD, "transport profile", f"{profile} does not exist", export)
    return Finding(OK, "transport profile", profile)


def check_model(model: str) -> Iterator[Finding]:
    try:
        path = model_path(model)
        from ..runtime.engine import Engine

        engine = Engine.load(path)
    except SentryFuseError as error:
        yield Finding(BAD, "model", str(error))
        return
    inputs = ", ".join(engine.modalities)
    yield Finding(OK, "model", f"{path}: inputs {inputs}, {len(engine.classes)} classes, ratios {engine.ratio_levels}")


def check_scheduling() -> Iterator[Finding]:
    level = allowed_level()
    if level == REALTIME:
        yield Finding(OK, "CPU priority", "real-time is allowed")
        return
    lost = "on a busy machine predictions may be late"
    found = f"ordinary only: {lost}" if level == ORDINARY else f"a lower nice value, but no real-time priority: {lost}"
    remedy = (
        "a line '@GROUP - rtprio 20' in /etc/security/limits.d/, LimitRTPRIO=20 in a service, or docker run --cap-add=sys_nice"
    )
    yield Finding(NOTE, "CPU priority", found, remedy)


def check_power() -> Iterator[Finding]:
    rails = {kind: [rail.name for rail in power_rails(kind)] for kind in KINDS}
    found = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in rails.items() if names)
    if found:
        yield Finding(OK, "power sensors", found)
    else:
        yield Finding(NOTE, "power sensors", "none: power_measurement can be battery or none")


def check_data() -> Iterator[Finding]:
    root = data_root()
    if (root / "bags").exists():
        yield Finding(OK, "SENTRYFUSE_DATA", str(root))
    else:
        yield Finding(NOTE, "SENTRYFUSE_DATA", f"{root} has no bags/: tests on real recordings will be skipped")
