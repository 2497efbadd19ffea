"""The YAML of a stream's training as records: every key that exists, with its default and its range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ParameterError
from ..preprocessing import ModalitySpec
from ..streaming.stream_config import StreamConfig
from ..validation import Count, NotNegative, Positive, Seed, Share, ShareBelowOne, build, check
from .depth_clips import TRAINING_POSE
from .depth_room import Pose
from .recipe_file import read_recipe_file

_WHAT, _REMEDY = "stream recipe", "correct the training YAML"


@dataclass(frozen=True)
class StreamRecipe:
    """How a network learns a stream."""

    rate_hz: Positive = 10.0
    batch: Count = 48  # clips
    pose: Pose = TRAINING_POSE  # how strongly people are moved and stretched; see depth_room.py
    learning_rate: Positive = 1.5e-3
    weight_decay: NotNegative = 0.05
    max_grad_norm: Positive = 1.0
    label_smoothing: ShareBelowOne = 0.1
    joints: NotNegative = 10.0  # weight of the auxiliary loss: where the joints of the people are
    distill: NotNegative = 1.0  # weight of the divergence of the second pass, through a part of the backbone, from the first
    code_dropout: ShareBelowOne = 0.1  # chance that a window's code is left out
    paired: bool = False  # every clip is seen whole and as a stream, and the whole one teaches the stream (stream_pairs.py)
    frugal: Share = 0.0  # paired: share of the streams that spend as little as at a high pruning ratio
    routed: Share = 0.0  # paired: share of the streams that follow the policy and the router of the section `streaming`
    tokens: NotNegative = 0.0  # paired: weight of the error of a stream's tokens from those of the whole clip
    parts: Count = 1  # paired: parts of the backbone that learn in a step
    parts_weight: Positive = 1.0  # paired: of the losses of all parts together
    streamed: Share = 0.5  # not paired: share of the clips that are encoded as on the robot
    branched: Share = 0.6  # share of those in which branches change
    ema_decay: ShareBelowOne = 0.998
    warmup: ShareBelowOne = 0.03  # share of the training over which the learning rate rises

    def __post_init__(self) -> None:
        check(self, _WHAT, _REMEDY)


@dataclass(frozen=True)
class ReadoutRecipe:
    """How what comes after the window encoder learns on from stored codes, in the second stage."""

    augmentations: Count = 8  # of each recording; a clip of 32 pictures with 49 windows takes 0.4 MB on disk
    steps: Count = 500
    batch: Count = 32  # clips, each of them whole and as a stream
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    max_grad_norm: Positive = 1.0
    label_smoothing: ShareBelowOne = 0.1
    distill: NotNegative = 1.0  # weight of the divergence of a stream, and of a part of the backbone, from the network's average
    dropout: ShareBelowOne = 0.1
    code_dropout: ShareBelowOne = 0.1  # chance that a window's code is left out
    frugal: Share = 0.0  # share of the random streams that spend as little as at a high pruning ratio
    routed: Share = 0.0  # share of the streams that follow the policy and the router of the section `streaming`
    tokens: NotNegative = 0.0  # weight of the error of a stream's tokens from those of the whole clip by the network's average
    parts: Count = 1  # parts of the backbone that learn in a step
    parts_weight: Positive = 1.0  # of the losses of all parts together
    ema_decay: ShareBelowOne = 0.995
    warmup: ShareBelowOne = 0.03  # share of the steps over which the learning rate rises

    def __post_init__(self) -> None:
        check(self, f"{_WHAT} readout", _REMEDY)


@dataclass(frozen=True)
class StreamTraining:
    """One training run on the depth of UTD-MHAD."""

    camera: Mapping[str, Any]  # the model input; see preprocessing/spec.py
    model: Mapping[str, Any]  # the fields of FuseConfig, except modalities and classes
    train_subjects: tuple[int, ...] = (1, 3, 5, 7)
    validation_subjects: tuple[int, ...] = ()  # for accuracies and for the router; not trained on
    begin_with: str = ""  # model, by path or name, from which the first stage takes the weights that fit; none where empty
    steps: Count = 3000
    seed: Seed = 0
    streaming: Mapping[str, Any] = field(
        default_factory=dict
    )  # the section `streaming` of the model; see streaming/stream_config.py
    recipe: StreamRecipe = field(default_factory=StreamRecipe)
    readout: ReadoutRecipe | None = None  # the second stage; none where the section is missing

    def __post_init__(self) -> None:
        check(self, _WHAT, _REMEDY)
        StreamConfig.from_dict(self.streaming)  # so that a wrong key is found now and not when the model is to be used
        if not self.train_subjects:
            raise ParameterError(f"{_WHAT} train_subjects", [], "at least one subject", _REMEDY)
        both = set(self.train_subjects) & set(self.validation_subjects)
        if both:
            raise ParameterError(f"{_WHAT} validation_subjects", sorted(both), "subjects that are not trained on", _REMEDY)

    @property
    def spec(self) -> ModalitySpec:
        """The model input."""
        return ModalitySpec.from_dict(self.camera)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, path: str | Path) -> StreamTraining:
        """From a YAML file; raises ParameterError where it is missing, not YAML, or wrong."""
        return build(cls, read_recipe_file(path, _WHAT, "see config/train_utd_mhad_stream.yaml"), _WHAT, _REMEDY)
