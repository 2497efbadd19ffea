"""What one judgement costs: quantities and verdict of a window as the model is given it, median over many."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import numpy as np

from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.preprocessing.normalise import normalise
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.sensing.quantities import quantities

COUNT = 200


def judgement_ms(model: Path, windows: str) -> dict[str, float]:
    """By model input: time of one judgement [ms]."""
    engine = Engine.load(model)
    loaded = dataset(windows).load(engine.specs, ("test",))
    if not isinstance(loaded, WindowSet):
        raise DataError(f"data set {windows}", type(loaded).__name__, "a folder written by sentryfuse dataset", "give one")
    found = {}
    for spec in engine.specs:
        table = engine.trust_tables.get(spec.name)
        if table is None:
            continue
        took = []
        for x in normalise(spec, loaded.rows(spec.name, np.arange(min(COUNT, len(loaded))))):
            begin = time.perf_counter()
            numbers = quantities(spec, x)
            if numbers is not None:
                table.judge(numbers)
                took.append(time.perf_counter() - begin)
        found[spec.name] = round(median(took) * 1e3, 3)
    return found
