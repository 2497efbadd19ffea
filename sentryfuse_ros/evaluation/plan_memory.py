"""Memory that a model and one of its plans take, each measured in a process of its own.

`python -m sentryfuse_ros.evaluation.plan_memory MODEL RATIO` prints both in MB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ParameterError, SentryFuseError
from ..paths import model_path
from ..runtime.engine import Engine
from ..runtime.onnx_graph import OnnxGraph
from ..runtime.onnx_session import make_session
from ..runtime.plan_costs import choose_by_time, noise_window
from ..runtime.process_memory import settle_garbage

WINDOWS = 20


class PlanMemory(NamedTuple):
    """What a loaded model and one of its plans have in use [MB].

    Not counted is memory that was freed and that the C library keeps for later. How much it keeps depends on the order in which
    intermediate results came and went: with pictures of 240x320 that are encoded whole, it is between 7 and 40 MB by chance.
    """

    model_mb: float
    plan_mb: float


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
    """Memory of a model and its plan of a ratio in a fresh process, without the library that runs them, nor what the library
    makes once for all models. Raises SentryFuseError."""
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
    before_mb = _in_use_mb()
    engine = Engine.load(model_path(model))
    try:
        choose_by_time(engine, 1)
    except ParameterError:
        pass  # the ratio is a share of FLOPs then
    loaded_mb = _in_use_mb()
    mask, window = np.ones(len(engine.modalities), bool), noise_window(engine)
    with_window_mb = _in_use_mb()
    for _ in range(WINDOWS):
        engine.infer(window, mask, ratio)
    return PlanMemory(loaded_mb - before_mb, _in_use_mb() - with_window_mb)


def _in_use_mb() -> float:
    settle_garbage()
    return written_mb()


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
