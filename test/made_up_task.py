"""One more task for the study's tests: a made-up set with a network that is quick to train; and examples for `tiny_model`."""

from types import SimpleNamespace

import numpy as np
import torch
from tiny_model import tiny_batch

from benchmarks.pruning import examples, tasks
from benchmarks.pruning.criteria import Calibration
from benchmarks.pruning.examples import load_examples
from benchmarks.pruning.tasks import TASKS, Task
from sentryfuse_ros.datasets.windows import WindowSet

SENSORS = ("a", "b", "c")
MADE_UP = Task(
    "made_up",
    tuple(dict(name=n, kind="series", window_s=1.0, shape=[16, 2]) for n in SENSORS),
    {n: dict(steps_per_token=4, stem_channels=4) for n in SENSORS},
    ("train",),
    ("val",),
    ("test",),
    ("a", "c"),
    dict(epochs=3, batch=16),
)


def windows(specs, groups):
    """Sine waves whose frequency is the class, in every sensor with its own noise."""
    rng = np.random.default_rng(len(groups[0]))
    labels = np.arange(48) % 3
    at = np.linspace(0, 1, 16)[None, :, None]
    inputs = {
        s.name: (
            np.sin(2 * np.pi * (1 + 2 * labels)[:, None, None] * (at + rng.random((48, 1, 2))))
            + 0.3 * (i + 1) * rng.standard_normal((48, 16, 2))
        ).astype(np.float32)
        for i, s in enumerate(specs)
    }
    return WindowSet(inputs, labels, np.repeat(groups, 48), np.arange(48), tuple(map(str, range(48))), np.ones(48))


def calibration(count=5):
    """Examples of a tiny model, on which criteria are measured."""
    return Calibration(tiny_batch(count), torch.arange(count) % 4)


def installed(monkeypatch):
    """The made-up set as one more task, with a network that is quick to train."""
    source = SimpleNamespace(CLASSES=("one", "two", "three"), PROVENANCE="made up", load=windows)
    monkeypatch.setattr(examples, "dataset", lambda name: source)
    monkeypatch.setitem(TASKS, "made_up", MADE_UP)
    for name, value in dict(d_model=16, layers=2, head_dim=4, ffn_dim=32).items():
        monkeypatch.setitem(tasks.NETWORK, name, value)
    for attend in tasks.ATTEND.values():
        monkeypatch.setitem(attend, "heads_per_group", 2)
    load_examples.cache_clear()
    yield
    load_examples.cache_clear()
