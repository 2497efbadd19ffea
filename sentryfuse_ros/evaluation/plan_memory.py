"""Memory that a model and one of its plans take, each measured in a process of its own.

`python -m sentryfuse_ros.evaluation.plan_memory MODEL RATIO` prints it in MB: all of it, and what of it is in use.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ParameterError, SentryFuseError
from ..paths import model_path
from ..runtime.engine import Engine
from ..runtime.onnx_graph import OnnxGraph
from ..runtime.onnx_session import make_session
from ..runtime.plan_costs import choose_by_time, noise_window

WINDOWS = 20


class PlanMemory(NamedTuple):
    """What a model and one of its plans take [MB]: all memory, and without what an inference has freed again.

    The C library keeps some of the freed memory for the next inference. How much it keeps depends on the order in which the
    intermediate results came and went: with pictures of 240x320 that are encoded whole, it is between 7 and 40 MB by chance.
    """

    taken_mb: float
    in_use_mb: float


def private_mb(pid: int | str = "self") -> float:
    """Memory of a process that no other process shares [MB] (Linux)."""
    return sum(_fields(f"/proc/{pid}/smaps_rollup", ("Private_Clean", "Private_Dirty")))


def written_mb() -> float:
    """Memory that this process has written to and shares with none [MB] (Linux). Code of libraries is not part of it."""
    return sum(_fields("/proc/self/smaps_rollup", ("Private_Dirty",)))


def resident_mb(pid: int | str = "self") -> float:
    """Resident memory of a process, including what it shares with others [MB] (Linux)."""
    return sum(_fields(f"/proc/{pid}/status", ("VmRSS",)))


def _fields(path: str, names: tuple[str, ...]) -> list[float]:
    lines = (line.split() for line in Path(path).read_text().splitlines())
    return [int(words[1]) * 1024 / 1e6 for words in lines if words and words[0].rstrip(":") in names]


def plan_memory(model: str, ratio: float) -> PlanMemory:
    """Memory that loading a model and running its plan of a ratio takes in a fresh process, without the library that runs it, nor
    what the library makes once for all models. Raises SentryFuseError."""
    command = [sys.executable, "-m", __name__, model, str(ratio)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SentryFuseError(
            "memory of a plan", done.stderr.strip()[-500:], "a model that can be loaded", "see sentryfuse doctor"
        )
    return PlanMemory(*map(float, done.stdout.split()[-2:]))


def measure_here(model: str, ratio: float) -> PlanMemory:
    """The same in this process, which must not have loaded a model before."""
    _ready_library()
    before_mb = written_mb()
    engine = Engine.load(model_path(model))
    try:
        choose_by_time(engine, 1)
    except ParameterError:
        pass  # the ratio is a share of FLOPs then
    mask, without_window_mb = np.ones(len(engine.modalities), bool), written_mb()
    window = noise_window(engine)
    window_mb = written_mb() - without_window_mb
    for _ in range(WINDOWS):
        engine.infer(window, mask, ratio)
    taken_mb = written_mb() - before_mb - window_mb
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    return PlanMemory(taken_mb, written_mb() - before_mb - window_mb)


def _ready_library() -> None:
    """Load the library that runs models and let it run a graph of one step: what it makes once is not a part of the plan."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        import torch  # noqa: F401

        return
    graph = OnnxGraph()
    graph.output(graph.op("Abs", graph.input("x", [1])), "y")
    make_session(graph).run(["y"], {"x": np.zeros(1, np.float32)})


if __name__ == "__main__":
    print(*measure_here(sys.argv[1], float(sys.argv[2])))
