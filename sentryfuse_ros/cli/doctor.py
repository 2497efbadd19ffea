"""What is installed, what would lose messages, and what to do about it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path

from ..errors import SentryFuseError
from ..paths import data_root, executable_path, model_path, share_path

HELP = "what is installed, what would lose messages, and what to do about it"

OK, NOTE, BAD = "ok", "note", "BAD"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="ground_robot", help="checkpoint to check (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    findings = [*check_python(), *check_ros(), *check_transport(), *check_model(args.model), *check_data()]
    if args.json:
        print(
            json.dumps(
                [{"level": level, "what": what, "found": found, "remedy": remedy} for level, what, found, remedy in findings],
                indent=1,
            )
        )
    else:
        for level, what, found, remedy in findings:
            print(f"{level:>4}  {what:<26} {found}" + (f"\n{'':>34}remedy: {remedy}" if remedy else ""))
    return 1 if any(level == BAD for level, *_ in findings) else 0


def version(distribution: str, module: str | None = None) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "installed" if importlib.util.find_spec(module or distribution) else None


def opencv_version() -> str | None:
    """It goes by several names: pip's with and without windows, Debian's python3-opencv."""
    if importlib.util.find_spec("cv2") is None:
        return None
    import cv2

    return cv2.__version__


def check_python():
    here = f"{platform.python_version()} at {sys.executable}"
    supported = (3, 10) <= sys.version_info[:2] <= (3, 13)
    yield (OK, "python", here, "") if supported else (BAD, "python", here, "use Python 3.10 to 3.13")
    for name, module in (
        ("torch", "torch"),
        ("numpy", "numpy"),
        ("opencv", "cv2"),
        ("PyYAML", "yaml"),
        ("safetensors", "safetensors"),
        ("rosbags", "rosbags"),
        ("matplotlib", "matplotlib"),
        ("rich", "rich"),
    ):
        found = opencv_version() if name == "opencv" else version(name, module)
        if found:
            yield OK, name, found, ""
        else:
            yield BAD, name, "not installed", f"pip install {name} (requirements.txt has the version)"
    if importlib.util.find_spec("torch"):
        import torch

        yield OK, "CUDA", f"{torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else "none; the CPU is used", ""
    yield OK, "CPU cores", str(os.cpu_count()), ""


def check_ros():
    from ..nodes.installation import find_ros

    ros = find_ros()
    if ros is None:
        yield BAD, "ROS 2", "no rclpy in this environment", "make setup, or source /opt/ros/<distro>/setup.bash"
        return
    distro = os.environ.get("ROS_DISTRO") or distro_of_wheels() or "unknown"
    yield OK, "ROS 2", f"{distro}, rclpy {version('ros-rclpy', 'rclpy') or version('rclpy')}", ""
    yield (OK if "fastrtps" in ros.rmw or "cyclone" in ros.rmw else NOTE), "RMW", ros.rmw, ""
    if importlib.util.find_spec("sentryfuse_ros.msg") is None:
        yield BAD, "messages", "sentryfuse_ros.msg is not built", "make setup, or colcon build and source install/setup.bash"
    else:
        yield OK, "messages", "sentryfuse_ros.msg built", ""
    try:
        yield OK, "fuse_node", str(executable_path("fuse_node")), ""
    except SentryFuseError as error:
        yield BAD, "fuse_node", str(error), "colcon build"
    yield (
        OK if ros.has_events_executor else NOTE,
        "executor",
        "events executor" if ros.has_events_executor else "single-threaded (this rclpy has no events executor)",
        "",
    )
    yield (
        OK if ros.takes_serialized_messages else NOTE,
        "receive path",
        "raw, taken by hand" if ros.takes_serialized_messages else "ordinary callbacks: about three times the CPU",
        "",
    )
    for name, use in (
        ("launch_ros", "ros2 launch"),
        ("message_filters", "SnapshotSynchronizer beside its filters"),
        ("launch_testing", "running launch tests"),
    ):
        there = importlib.util.find_spec(name) is not None
        yield OK if there else NOTE, name, "installed" if there else f"not installed: {use} is not to be had here", ""
    yield OK, "ROS_DOMAIN_ID", os.environ.get("ROS_DOMAIN_ID", "0 (default)"), ""


def distro_of_wheels() -> str | None:
    for distro in ("jazzy", "kilted", "humble"):
        if version(f"ros-{distro}-rclpy", "_no_such_module"):
            return f"{distro} from PyPI"
    return None


def check_transport():
    rmw = os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    profile = os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE")
    profile_shipped = share_path("config", "fastdds_large_messages.xml")
    if "fastrtps" in rmw:
        if profile and Path(profile).exists():
            yield OK, "transport profile", profile, ""
        elif profile:
            yield (
                BAD,
                "transport profile",
                f"{profile} does not exist",
                f"export FASTRTPS_DEFAULT_PROFILES_FILE={profile_shipped}",
            )
        else:
            yield (
                NOTE,
                "transport profile",
                "none: best-effort images and clouds over about 512 KB will be lost",
                f"where your drivers start: export FASTRTPS_DEFAULT_PROFILES_FILE={profile_shipped}",
            )
    shm = Path("/dev/shm")
    if shm.exists():
        stat = os.statvfs(shm)
        free_mb = stat.f_bavail * stat.f_frsize / 1e6
        # The profile's segment is 32 MB a process.
        yield (
            OK if free_mb > 256 else BAD,
            "shared memory",
            f"{free_mb:.0f} MB free in /dev/shm",
            "" if free_mb > 256 else "enlarge it (docker run --shm-size=1g), or large messages are lost",
        )
    for name, least in (("rmem_max", 2_097_152),):
        path = Path("/proc/sys/net/core") / name
        if path.exists():
            value = int(path.read_text())
            yield (
                OK if value >= least else NOTE,
                f"net.core.{name}",
                str(value),
                "" if value >= least else f"for sensors on other machines: sysctl -w net.core.{name}={least}",
            )


def check_model(model: str):
    try:
        path = model_path(model)
        from ..runtime.engine import Engine

        engine = Engine.load(path)
        yield (
            OK,
            "model",
            f"{path}: inputs {', '.join(engine.modalities)}, {len(engine.classes)} classes, ratios {engine.ratio_levels}",
            "",
        )
    except (SentryFuseError, ImportError) as error:
        yield BAD, "model", str(error), "see above"


def check_data():
    root = data_root()
    there = (root / "bags").exists()
    yield (
        OK if there else NOTE,
        "SENTRYFUSE_DATA",
        f"{root}" + ("" if there else ": no bags/ there; the demo has nothing to play"),
        "",
    )
