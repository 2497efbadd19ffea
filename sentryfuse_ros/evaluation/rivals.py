"""What an engine's speed is compared with: the network as a user would write it in torch, and another installed version."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import ParameterError
from ..model.config import FuseConfig
from .other_installation import environment_of_other, interpreter_of

# Runs in the other installation, whose modules may have other names: one inference for every line it reads.
_WORKER = """
import sys
import numpy as np
import sentryfuse_ros
assert sentryfuse_ros.__file__.startswith(sys.prefix), sentryfuse_ros.__file__
try:
    from sentryfuse_ros.paths import model_path
    from sentryfuse_ros.runtime.engine import Engine
except ImportError:
    from sentryfuse_ros.engine import Engine
    from sentryfuse_ros.resources import model_path
engine = Engine.load(model_path(sys.argv[1]), threads=int(sys.argv[2]))
rng = np.random.default_rng(0)
window = {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in engine.specs}
everyone = np.ones(len(engine.specs), bool)
engine.infer(window, everyone, 0.0)
print("ready", flush=True)
for _ in sys.stdin:
    if hasattr(engine, "prime"):
        engine.prime(window)
    print(engine.infer(window, everyone, 0.0).duration_s, flush=True)
"""


def plain_network(config: FuseConfig, window: Mapping[str, np.ndarray], threads: int) -> Callable[[], None]:
    """One inference of the same network in eager torch with ordinary attention: every head has keys and values of its own, from
    every token. Its weights are random. Raises ImportError where torch is not installed."""
    import torch

    from ..model.fuse import SentryFuse

    torch.set_num_threads(threads)
    ordinary = replace(config, num_kv_heads=config.heads, heads_per_group=1, kv_stride={})
    network = SentryFuse(ordinary).eval().requires_grad_(False)
    batch = {name: torch.from_numpy(x).unsqueeze(0) for name, x in window.items()}

    def infer() -> None:
        with torch.inference_mode():
            network(batch).logits.softmax(1)

    return infer


class OtherInstallation:
    """The engine of another installation of this package, in a process of its own; ``prefix`` is its virtual environment.

    It loads its own model of the name ``model``, since versions may differ in what they can read.
    """

    def __init__(self, prefix: Path, model: str, threads: int):
        self._process = subprocess.Popen(
            [str(interpreter_of(prefix)), "-c", _WORKER, model, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=prefix,
            env=environment_of_other(),
        )

    def __enter__(self) -> OtherInstallation:
        self._answer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def infer_s(self) -> float:
        """Seconds of one inference of the dense network with all sensors."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ParameterError("--before", f"its engine ended with {self._process.wait()}", "an engine that runs the model")
        return line
