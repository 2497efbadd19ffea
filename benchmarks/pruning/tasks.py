"""The tasks that pruning is compared on: their sensors, splits and recipes, and the shape that all networks share.

Every sensor of a task has the same number of tokens and the same stride, so that streams can run as one batched operation. The
lengths of the trainings and the sizes of the networks were chosen on the validation groups, for a training of a few minutes on
one CPU core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sentryfuse_ros.datasets import borealtc
from sentryfuse_ros.model.config import FuseConfig

NETWORK: dict[str, Any] = dict(d_model=64, layers=4, head_dim=8, ffn_dim=64, channel_step=8, bottleneck_tokens=2)
# SentryAttend by backbone, 8 query heads in all. A backbone that has more keys saves a smaller share of them. Keys are means of
# neighbouring tokens, so that no token is left out.
ATTEND: dict[str, dict[str, Any]] = {
    "early": dict(num_kv_heads=4, heads_per_group=2, kv_pattern="pooled", kv_stride=4),
    "cross_modal": dict(num_kv_heads=4, heads_per_group=2, kv_pattern="pooled", kv_stride=2),
    "bottleneck": dict(num_kv_heads=1, heads_per_group=8, kv_pattern="pooled", kv_stride=8),
}


@dataclass(frozen=True)
class Task:
    """One data set with its split."""

    dataset: str
    modalities: tuple[Mapping[str, Any], ...]
    tokenizer: Mapping[str, Mapping[str, Any]]
    train: tuple[int | str, ...]
    validation: tuple[int | str, ...]  # budget modes are chosen on it; the trainings never see it
    test: tuple[int | str, ...]
    best_and_worst: tuple[str, str]  # the sensors that are best and worst alone on the validation groups
    training: Mapping[str, Any] = field(default_factory=dict)  # recipe fields
    network: Mapping[str, Any] = field(default_factory=dict)  # where it differs from NETWORK
    pruning: bool = True  # False: only the accuracy of the whole network is measured
    people: bool = False  # whether the training windows are varied as in people.py
    held: int = 600  # test examples that every plan is measured on, evenly spread; half as many of the validation groups

    @property
    def names(self) -> tuple[str, ...]:
        """Sensors in mask order."""
        return tuple(m["name"] for m in self.modalities)

    def model(self, backbone: str) -> dict[str, Any]:
        """The model section of the recipe."""
        attend = dict(ATTEND[backbone])
        stride = dict.fromkeys(self.names, attend.pop("kv_stride"))
        return {**NETWORK, **self.network, **attend, "backbone": backbone, "tokenizer": dict(self.tokenizer), "kv_stride": stride}


def _utd_mhad(
    train: tuple[int | str, ...],
    validation: tuple[int | str, ...],
    training: Mapping[str, Any],
    network: Mapping[str, Any] | None = None,
    stems: tuple[int, int] = (8, 8),
    pruning: bool = True,
) -> Task:
    """Actions from a depth camera, the skeleton found in it, and two inertial sensors; the authors' test subjects."""
    window: dict[str, Any] = dict(window_s=4.8, options={"max_gap_s": 0.8})
    modalities: tuple[dict[str, Any], ...] = (
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
    tokenizer: dict[str, dict[str, Any]] = {
        "depth": dict(crop_columns=16, stem_channels=[4, 8, 16], grid=[3, 2], motion="only"),
        "skeleton": dict(steps_per_token=9, stem_channels=stems[0]),
        "accelerometer": dict(steps_per_token=15, stem_channels=stems[1]),
        "gyroscope": dict(steps_per_token=15, stem_channels=stems[1]),
    }
    return Task(
        "utd_mhad",
        modalities,
        tokenizer,
        train,
        validation,
        (2, 4, 6, 8),
        ("accelerometer", "depth"),
        {"batch": 32, **training},
        network=network or {},
        pruning=pruning,
        people=True,
    )


def _borealtc(test_fold: int, pruning: bool = True) -> Task:
    """The ground under a robot from two inertial sensors, the wheels' velocity and the motors' current; split by run.

    Without pruning there is no budget mode to choose, so the validation runs are trained on too.
    """
    groups = borealtc.cross_validation(test_fold)
    train, validation = (groups["train"], groups["val"]) if pruning else (groups["train"] + groups["val"], ())
    modalities: tuple[dict[str, Any], ...] = (
        *(dict(name=n, kind="series", window_s=5.0, shape=[480, 3]) for n in ("gyroscope", "accelerometer")),
        *(dict(name=n, kind="series", window_s=5.0, shape=[32, 2]) for n in ("wheel_velocity", "motor_current")),
    )
    fast, slow = dict(steps_per_token=30, stem_channels=12, spectrum_steps=60), dict(steps_per_token=2, stem_channels=16)
    tokenizer = {"gyroscope": fast, "accelerometer": fast, "wheel_velocity": slow, "motor_current": slow}
    return Task(
        "borealtc",
        modalities,
        tokenizer,
        train,
        validation,
        groups["test"],
        ("accelerometer", "wheel_velocity"),
        dict(epochs=14, batch=32, balance=0.5),
        pruning=pruning,
        held=300,  # the windows overlap, so every fourth second is enough
    )


def _av_digits() -> Task:
    """Spoken and handwritten digits; the image comes as strips, so that it gives as many tokens as the sound."""
    modalities: tuple[dict[str, Any], ...] = (
        dict(name="audio", kind="audio", window_s=1.0, shape=[56, 32], options={"sample_rate_hz": 8000}),
        dict(name="image", kind="camera", encoding="mono", window_s=1.0, shape=[14, 1, 2, 28]),
    )
    tokenizer: dict[str, dict[str, Any]] = {
        "audio": dict(steps_per_token=4, stem_channels=16),
        "image": dict(frames_per_token=1, stem_channels=[16], grid=[1, 7], validity_mask="none"),
    }
    # A mirrored digit is another sign, and each strip of the image is a token of its own, so none is blanked out.
    augment = {"mirror": 0.0, "erase": 0.0, "light": 0.1, "contrast": 0.1}
    return Task(
        "av_digits",
        modalities,
        tokenizer,
        ("train",),
        ("val",),
        ("test",),
        ("audio", "image"),
        dict(epochs=18, batch=64, augment=augment),
    )


TASKS: dict[str, Task] = {
    "utd_mhad": _utd_mhad((1, 3, 5), (7,), dict(epochs=150, learning_rate=0.003)),
    "borealtc": _borealtc(2),  # the fold that a tree ensemble finds hardest
    "av_digits": _av_digits(),
    # These are for the accuracy of the whole network only. On left-out subjects the wider network gains 3 points, and less sensor
    # dropout gains 1.
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


def ordinary_attention(config: FuseConfig) -> FuseConfig:
    """The same network with a K/V head for every query head, and keys and values from every token."""
    return replace(config, num_kv_heads=config.heads, heads_per_group=1, kv_pattern="strided", kv_stride={})
