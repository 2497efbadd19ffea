"""What a measurement ran on: processor, system and library versions."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any


def machine(threads: int) -> dict[str, Any]:
    """What latencies were measured on; ``threads``: CPU threads of one inference."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: library_version(name) for name in ("torch", "onnxruntime")},
        "threads": threads,
    }


def library_version(name: str) -> str:
    """Version of an installed package, "" where it is not installed.

    It is in the name of the package's folder of metadata, such as numpy-2.4.6.dist-info. `importlib.metadata` would read the same
    there, but takes 2 MB of memory, and every node asks.
    """
    places = (Path(place) for place in sys.path if place)
    found = (folder for place in places for folder in place.glob(f"{name}-*-info"))
    folder = next(found, None)
    return folder.stem.split("-")[1] if folder else ""


def ros_distribution() -> str:
    """Name of the ROS 2 distribution that is sourced, or whose rclpy came from PyPI; "" without either."""
    wheels = (f"{name} from PyPI" for name in ("jazzy", "kilted", "humble") if library_version(f"ros_{name}_rclpy"))
    return os.environ.get("ROS_DISTRO") or next(wheels, "")


def processor() -> str:
    """Architecture, and the processor's name where Linux gives one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {name}".strip()
