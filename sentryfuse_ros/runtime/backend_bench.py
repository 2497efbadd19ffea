"""Times one model on several backends in turn, and prints milliseconds by backend as JSON.

`python -m sentryfuse_ros.runtime.backend_bench MODEL DEVICE THREADS BACKEND...`; a backend that cannot run the model there is
left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from statistics import median

import numpy as np

from ..errors import CheckpointError
from .engine import Engine
from .plan_costs import noise_window

ROUNDS = 15


def time_backends(model_file: str, device: str, threads: int, backends: Sequence[str], rounds: int = ROUNDS) -> dict[str, float]:
    """Median time of one inference of the whole network with all sensors [ms], for a window with new pictures."""
    engines = {}
    for name in backends:
        try:
            engines[name] = Engine.load(model_file, device, threads, name)
        except CheckpointError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    took: dict[str, list[float]] = {name: [] for name in engines}
    for i in range(rounds + 1):
        for name, engine in engines.items():
            window = noise_window(engine)
            engine.prime(window)
            seconds = engine.infer(window, np.ones(len(engine.modalities), bool), 0.0).duration_s
            if i:  # the first one builds the plan
                took[name].append(seconds)
    return {name: round(1e3 * median(seconds), 4) for name, seconds in took.items()}


if __name__ == "__main__":
    model, on, thread_count, *names = sys.argv[1:]
    print(json.dumps(time_backends(model, on, int(thread_count), names)))
