"""What a measurement ran on: processor, system and library versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
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
    """Version of an installed package, "" where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def processor() -> str:
    """Architecture, and the processor's name where Linux gives one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {name}".strip()
