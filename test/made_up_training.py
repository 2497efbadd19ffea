"""A made-up set of two sensors and three classes that is quick to learn, and its training recipe."""

import numpy as np
from rich.console import Console
from tiny_model import SIZES

from sentryfuse_ros.datasets.recording import Recording, Stream
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.training.recipe import Recipe
from sentryfuse_ros.training.windows import stack, whole_window

CLASSES = ("slow", "fast", "up")
QUIET = Console(quiet=True)
RECIPE = dict(
    dataset="made_up",
    train_groups=[1, 2],
    validation_groups=[3],
    epochs=3,
    batch=8,
    validate_every=1,
    seed=5,
    modalities=[
        {"name": "imu", "kind": "imu", "window_s": 1.0, "shape": [40, 6]},
        {"name": "wheel", "kind": "series", "window_s": 1.0, "shape": [20, 2]},
    ],
    model=dict(
        **SIZES,
        ratio_levels=[0.0, 0.5, 0.9],
        tokenizer={"imu": {"stem_channels": 8}, "wheel": {"steps_per_token": 5, "stem_channels": 4}},
    ),
)


def recordings(groups=(1, 2, 3), each=4):
    """Sine waves: the class is their frequency or their offset, every sensor sees it."""
    out = []
    for group in groups:
        rng = np.random.default_rng(group)
        for label in range(3):
            for i in range(each):
                at = (np.arange(1, 41) * NS) // 40
                phase = 2 * np.pi * ((2, 6, 2)[label] * at / NS + rng.random())
                wave = (np.sin(phase) + (0, 0, 2)[label])[:, None] + 0.1 * rng.standard_normal((40, 8))
                rows = wave.astype(np.float32)
                out.append(
                    Recording(
                        f"{group}-{label}-{i}", label, group, {"imu": Stream(at, rows[:, :6]), "wheel": Stream(at, rows[:, 6:])}
                    )
                )
    return out


class Source:
    """The set as training takes one."""

    PROVENANCE, CLASSES = "made up", CLASSES

    @staticmethod
    def load(specs, groups):
        return recordings(groups)


def recipe(**changes):
    return Recipe.from_dict({**RECIPE, **changes})


def window_set(groups=("train", "val"), each=4):
    """The made-up recordings as windows that were cut without mean and std."""
    specs, found = recipe().specs, recordings((1, 2) if len(groups) > 1 else (3,), each)
    inputs = stack([whole_window(r, specs) for r in found])
    return WindowSet(
        inputs,
        np.array([r.label for r in found]),
        np.array([groups[r.group % len(groups)] for r in found]),
        np.arange(len(found)),
        tuple(r.name for r in found),
        np.ones(len(found)),
    )
