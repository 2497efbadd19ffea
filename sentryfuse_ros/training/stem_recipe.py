"""The YAML of the training of a patch encoder in the place of a camera's stem: every key, with its default and its range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ..streaming.stream_config import StreamConfig
from ..validation import Count, NotNegative, Positive, Rule, Seed, Share, ShareBelowOne, build, check
from .recipe_file import read_recipe_file

_WHAT, _REMEDY = "stem recipe", "correct the training YAML"
_RISING = Rule(lambda v: v[0] <= v[1], "two numbers, the smaller one first")


@dataclass(frozen=True)
class StemRecipe:
    """How a patch encoder learns to stand in for a stem."""

    steps: Count = 2600
    tuned: Share = 0.25  # share of the steps, at the end, that go through the frozen backbone
    batch: Count = 64  # windows of the camera
    learning_rate: Positive = 2e-3
    tuned_rate: Positive = 5e-4  # highest learning rate of the steps through the backbone
    weight_decay: NotNegative = 0.02
    max_grad_norm: Positive = 1.0
    warmup: ShareBelowOne = 0.03  # share of either part over which its learning rate rises
    ema_decay: ShareBelowOne = 0.998
    streamed: Share = 0.5  # share of the windows whose pictures are encoded as on the robot, in part from older pictures
    light: Share = 0.4  # share of the pictures that the light branch encodes
    oldest: Count = 6  # pictures: a code is at most so old
    changed_from: Annotated[tuple[Positive, Positive], _RISING] = (
        0.01,
        0.1,
    )  # mean change, of full scale, from which on a patch counts as changed
    refresh: Share = 0.05  # share of the unchanged windows that are encoded anew all the same
    labels: NotNegative = 0.5  # weights of the losses behind the backbone: labels,
    answers: NotNegative = 1.0  # divergence from the answers of the network that is taken over,
    fused: NotNegative = 1.0  # and distance of the tokens that leave its backbone, which a caption head reads
    missing: Share = 0.4  # chance that each of the other sensors is missing

    def __post_init__(self) -> None:
        check(self, _WHAT, _REMEDY)


@dataclass(frozen=True)
class StemTraining:
    """One training run: everything of ``model`` stays as it is, except the stem of the input ``camera``."""

    model: str  # folder of the network that is taken over
    dataset: str  # folder of `sentryfuse dataset`, with the splits train and val
    drives: tuple[str, ...]  # folders of the recordings that it was made from
    stem: Mapping[str, Any]  # options of the patch encoder; see model/patch_config.py
    camera: str = "camera"
    stops: tuple[str, ...] = ()  # folders of validation recordings in which the robot stands, for the router
    router_costs: tuple[NotNegative, NotNegative, NotNegative] = (0.0, 0.06, 0.15)  # of reuse, light and full
    every: Count = 2  # only every so many-th window is labelled training
    seed: Seed = 0
    threads: Count = 1
    streaming: Mapping[str, Any] = field(default_factory=dict)  # the section of the model; see streaming/stream_config.py
    recipe: StemRecipe = field(default_factory=StemRecipe)

    def __post_init__(self) -> None:
        check(self, _WHAT, _REMEDY)
        StreamConfig.from_dict(self.streaming)  # so that a wrong key is found now and not when the model is to be used

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, path: str | Path) -> StemTraining:
        """From a YAML file; raises ParameterError where it is missing, not YAML, or wrong."""
        return build(cls, read_recipe_file(path, _WHAT, "see config/train_ground_patches.yaml"), _WHAT, _REMEDY)
