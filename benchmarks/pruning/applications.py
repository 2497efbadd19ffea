"""The data sets that pruning is compared on: their sensors, splits and recipes, and the nets' common shape.

Every sensor of an application has the same number of tokens and the same stride, so that streams can run at once. The
recipes' lengths and sizes were chosen on the validation groups and for a training of a few minutes on one CPU core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sentryfuse_ros.datasets import borealtc, dataset
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.training.examples import Examples, examples_of

from .people import PeopleExamples

NET = dict(d_model=64, layers=4, head_dim=8, ffn_dim=64, channel_step=8, bottleneck_tokens=2)
# SentryAttend by backbone, 8 query heads in all. Where there are many keys to save, each is saved less of. Keys are means of
# their neighbours, so that no token is left out.
ATTEND = {
    "early": dict(num_kv_heads=4, heads_per_group=2, kv_pattern="pooled", kv_stride=4),
    "cross_modal": dict(num_kv_heads=4, heads_per_group=2, kv_pattern="pooled", kv_stride=2),
    "bottleneck": dict(num_kv_heads=1, heads_per_group=8, kv_pattern="pooled", kv_stride=8),
}


@dataclass(frozen=True)
class Application:
    """One data set with its split. ``pruning`` False: only the accuracy of the whole network is asked."""

    dataset: str
    modalities: tuple[Mapping[str, Any], ...]
    tokenizer: Mapping[str, Mapping[str, Any]]
    train: tuple
    validation: tuple  # budget modes are chosen on it; the nets never see it
    test: tuple
    best_and_worst: tuple[str, str]  # the sensors that are best and worst alone on the validation groups
    training: Mapping[str, Any] = field(default_factory=dict)  # recipe fields
    net: Mapping[str, Any] = field(default_factory=dict)  # where it differs from NET
    pruning: bool = True
    people: bool = False  # see people.py
    held: int = 600  # test examples that every plan is measured on, evenly spread; half as many of validation

    @property
    def names(self) -> tuple[str, ...]:
        """Sensors in mask order."""
        return tuple(m["name"] for m in self.modalities)

    def model(self, backbone: str) -> dict[str, Any]:
        """The model section of the recipe."""
        attend = dict(ATTEND[backbone])
        stride = dict.fromkeys(self.names, attend.pop("kv_stride"))
        return {**NET, **self.net, **attend, "backbone": backbone, "tokenizer": dict(self.tokenizer), "kv_stride": stride}


def _utd_mhad(
    train: tuple,
    validation: tuple,
    training: Mapping[str, Any],
    net: Mapping[str, Any] | None = None,
    stems: tuple[int, int] = (8, 8),
    pruning: bool = True,
) -> Application:
    """Actions from a depth camera, the skeleton found in it, and two inertial sensors; the authors' test subjects."""
    window = dict(window_s=4.8, options={"max_gap_s": 0.8})
    modalities = (
        dict(
            name="depth",
            kind="camera",
            encoding="depth_m",
            window_s=4.8,
            shape=[32, 1, 24, 32],
            options={"relative_depth": 1, "centre_columns": 1, "max_gap_s": 0.8},
        ),
        dict(name="skeleton", kind="series", shape=[144, 60], **window),
        dict(name="accelerometer", kind="series", shape=[240, 3], **window),
        dict(name="gyroscope", kind="series", shape=[240, 3], **window),
    )
    tokenizer = {
        "depth": dict(crop_columns=16, stem_channels=[4, 8, 16], grid=[3, 2], motion="only"),
        "skeleton": dict(steps_per_token=9, stem_channels=stems[0]),
        "accelerometer": dict(steps_per_token=15, stem_channels=stems[1]),
        "gyroscope": dict(steps_per_token=15, stem_channels=stems[1]),
    }
    return Application(
        "utd_mhad",
        modalities,
        tokenizer,
        train,
        validation,
        (2, 4, 6, 8),
        ("accelerometer", "depth"),
        dict(batch=32) | training,
        net=net or {},
        pruning=pruning,
        people=True,
    )


def _borealtc(test_fold: int, pruning: bool = True) -> Application:
    """The ground under a robot from two inertial sensors, the wheels' velocity and the motors' current; split by run.

    Without pruning no budget modes are to be chosen, so the runs for that are trained on too.
    """
    groups = borealtc.cross_validation(test_fold)
    train, validation = (groups["train"], groups["val"]) if pruning else (groups["train"] + groups["val"], ())
    modalities = (
        *(dict(name=n, kind="series", window_s=5.0, shape=[480, 3]) for n in ("gyroscope", "accelerometer")),
        *(dict(name=n, kind="series", window_s=5.0, shape=[32, 2]) for n in ("wheel_velocity", "motor_current")),
    )
    fast, slow = dict(steps_per_token=30, stem_channels=12, spectrum_steps=60), dict(steps_per_token=2, stem_channels=16)
    tokenizer = {"gyroscope": fast, "accelerometer": fast, "wheel_velocity": slow, "motor_current": slow}
    return Application(
        "borealtc",
        modalities,
        tokenizer,
        train,
        validation,
        groups["test"],
        ("accelerometer", "wheel_velocity"),
        dict(epochs=14, batch=32, balance=0.5),
        pruning=pruning,
        held=300,
    )  # its windows overlap: every fourth second is enough


def _av_digits() -> Application:
    """Spoken and handwritten digits; the image comes as strips, so that it is as many tokens as the sound."""
    modalities = (
        dict(name="audio", kind="audio", window_s=1.0, shape=[56, 32], options={"sample_rate_hz": 8000}),
        dict(name="image", kind="camera", encoding="mono", window_s=1.0, shape=[14, 1, 2, 28]),
    )
    tokenizer = {
        "audio": dict(steps_per_token=4, stem_channels=16),
        "image": dict(frames_per_token=1, stem_channels=[16], grid=[1, 7], solid="none"),
    }
    # A mirrored digit is another sign, and one row of an image is a token of its own.
    augment = {"mirror": 0.0, "erase": 0.0, "light": 0.1, "contrast": 0.1}
    return Application(
        "av_digits",
        modalities,
        tokenizer,
        ("train",),
        ("val",),
        ("test",),
        ("audio", "image"),
        dict(epochs=18, batch=64, augment=augment),
    )


APPLICATIONS: dict[str, Application] = {
    "utd_mhad": _utd_mhad((1, 3, 5), (7,), dict(epochs=150, learning_rate=0.003)),
    "borealtc": _borealtc(2),  # the fold that a tree ensemble finds hardest
    "av_digits": _av_digits(),
    # For the accuracy of the whole network only. On left-out subjects the wider net gains 3 points, less sensor dropout 1.
    "utd_mhad_all_subjects": _utd_mhad(
        (1, 3, 5, 7),
        (),
        dict(epochs=150, learning_rate=0.002, schedule={"drop_to": 0.5}),
        dict(d_model=96, head_dim=12, ffn_dim=192),
        stems=(24, 16),
        pruning=False,
    ),
    **{f"borealtc_fold_{fold}": _borealtc(fold, pruning=False) for fold in borealtc.FOLDS},
}


class Held(NamedTuple):
    """Examples that plans are measured on: inputs name -> (n, *spec.shape), normalised; labels (n,)."""

    inputs: dict[str, Tensor]
    labels: np.ndarray


@lru_cache(maxsize=12)
def load_examples(name: str, split: str) -> tuple[Examples, tuple[str, ...]]:
    """Examples of "train", "validation" or "test" of an application, and the classes; kept for the next net."""
    from .nets import recipe_of_application

    application = APPLICATIONS[name]
    source, recipe = dataset(application.dataset), recipe_of_application(application)
    loaded = source.load(recipe.specs, getattr(application, split))
    kind = PeopleExamples if application.people else examples_of
    return kind(loaded, recipe.augment), tuple(source.CLASSES)


def held_examples(name: str, split: str, specs: tuple[ModalitySpec, ...]) -> Held:
    """At most as many examples of "test" or "validation" as the application holds for it, evenly spread."""
    examples, _ = load_examples(name, split)
    most = APPLICATIONS[name].held // (1 if split == "test" else 2)
    index = np.unique(np.linspace(0, len(examples) - 1, min(most, len(examples))).round().astype(int))
    inputs = {n: torch.from_numpy(x) for n, x in examples.inputs(index, specs).items()}
    return Held(inputs, examples.labels[index])
