"""Which backend runs a model fastest on this machine: measured once per machine and model, and kept.

The measurement runs in a process of its own, because a library that is not chosen must not stay loaded: torch takes 240 MB.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import SentryFuseError
from ..files import write_atomically
from ..machine import library_version, processor
from ..paths import cache_path

LONGEST_S = 60.0  # importing torch may take long on a small computer that is busy


def kept_times(model_sha256: str, candidates: Sequence[str], device: str, threads: int) -> dict[str, float]:
    """Time of one inference with all sensors [ms] by backend, as measured here before; {} where it was not.

    candidates: the backends that can run the model. Only those that do so on this device have a time.
    """
    key = _key(model_sha256, candidates, device, threads)
    try:
        kept = json.loads(_path(key).read_text(encoding="utf-8"))
        times = {str(name): float(ms) for name, ms in kept["ms"].items()}
        usable = kept["key"] == key and set(times) <= set(candidates) and all(0.0 < ms < math.inf for ms in times.values())
        return times if usable else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def measure_times(
    model_file: str | Path, model_sha256: str, candidates: Sequence[str], device: str, threads: int
) -> dict[str, float]:
    """Measure them all in turn, and keep the times; takes some seconds. See `kept_times`. Raises SentryFuseError."""
    command = [sys.executable, "-m", "sentryfuse_ros.runtime.backend_bench", str(model_file), device, str(threads), *candidates]
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=True, timeout=LONGEST_S)
        times = {str(name): float(ms) for name, ms in json.loads(done.stdout.strip().split("\n")[-1]).items()}
    except subprocess.TimeoutExpired as error:
        raise SentryFuseError("measuring backends", f"over {LONGEST_S:g} s", "times", "set the parameter backend") from error
    except (subprocess.CalledProcessError, ValueError, AttributeError) as error:
        said = str(getattr(error, "stderr", error)).strip()[-300:]
        raise SentryFuseError("measuring backends", said, "times", "set the parameter backend") from error
    key = _key(model_sha256, candidates, device, threads)
    try:
        _path(key).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_path(key), json.dumps({"key": key, "ms": times}, indent=1))
    except OSError:
        pass  # it is measured again next time
    return times


def fastest(times: Mapping[str, float]) -> str:
    """The backend that took the least time."""
    return min(times, key=lambda name: times[name])


def _key(model_sha256: str, candidates: Sequence[str], device: str, threads: int) -> dict[str, Any]:
    """Everything that the times depend on."""
    return {
        "model": model_sha256,
        "package": __version__,
        "versions": {name: library_version(name) for name in candidates},
        "device": device,
        "threads": threads,
        "processor": processor(),
    }


def _path(key: Mapping[str, Any]) -> Path:
    return cache_path("backend_times", f"{sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]}.json")
