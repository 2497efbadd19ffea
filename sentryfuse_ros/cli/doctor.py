"""`sentryfuse doctor`: what is installed, what is missing or would lose messages, and what to do about it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..errors import SentryFuseError
from ..paths import data_root, model_path
from ..runtime.cpu_priority import ORDINARY, REALTIME, allowed_level
from ..runtime.power_rails import KINDS, power_rails
from .doctor_ros import check_ros, check_transport
from .findings import BAD, NOTE, OK, Finding, version


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
