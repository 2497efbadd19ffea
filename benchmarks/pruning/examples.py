"""The examples that runs are trained and measured on."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.training.examples import Examples, WindowExamples, examples_of
from sentryfuse_ros.training.recipe import Recipe

from .people import PeopleExamples
from .tasks import TASKS


class Held(NamedTuple):
    """Examples that plans are measured on."""

    inputs: dict[str, Tensor]  # name -> (n, *spec.shape), normalised
    labels: np.ndarray  # (n,)
    recording: np.ndarray  # (n,) examples with the same number are of one recording


@lru_cache(maxsize=12)
def load_examples(name: str, split: str) -> tuple[Examples, tuple[str, ...]]:
    """Examples of the split "train", "validation" or "test" of a task, and its classes; kept for the next run."""
    task = TASKS[name]
    source = dataset(task.dataset)
    recipe = Recipe.from_dict({"dataset": task.dataset, "modalities": list(task.modalities), **task.training})
    loaded = source.load(recipe.specs, getattr(task, split))
    if task.people and not isinstance(loaded, WindowSet):
        return PeopleExamples(loaded, recipe.augment), tuple(source.CLASSES)
    return examples_of(loaded, recipe.augment), tuple(source.CLASSES)


def held_examples(name: str, split: str, specs: tuple[ModalitySpec, ...]) -> Held:
    """At most as many examples of "test" or "validation" as the task holds for it, evenly spread."""
    examples, _ = load_examples(name, split)
    most = TASKS[name].held // (1 if split == "test" else 2)
    index = np.unique(np.linspace(0, len(examples) - 1, min(most, len(examples))).round().astype(int))
    inputs = {n: torch.from_numpy(x) for n, x in examples.inputs(index, specs).items()}
    of_recording = examples.windows.recording if isinstance(examples, WindowExamples) else np.arange(len(examples))
    return Held(inputs, examples.labels[index], of_recording[index])
