"""The shape of a caption head, and how much of it a pruning level keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple

from ..model.config import FuseConfig
from ..pruning.levels import level_for
from ..validation import Count, Rule, ShareBelowOne, build, check
from .facts import SENSOR_STATES

END, BEGIN = 0, 1  # the first two entries of a vocabulary
MARKS = ("<end>", "<begin>")
_WHAT, _REMEDY = "caption head", "train it again (sentryfuse train-captions)"
_ASCENDING = Rule(lambda v: len(v) > 0 and list(v) == sorted(set(v)), "one level or more, in ascending order")


class Width(NamedTuple):
    """Units of each site that stay: the leading ones, because training makes these the useful ones."""

    groups: int  # K/V heads of both attentions
    channels: int  # of the feed-forward


@dataclass(frozen=True)
class CaptionConfig:
    """A decoder with ``layers`` layers of three sites: attention to earlier words, attention to what is perceived, feed-forward.

    It reads one row per token of the model, the token as it entered the backbone beside what the backbone made of it, one row per
    sensor for its state, and one row for the class probabilities. Raises ParameterError on a value that a field cannot have.
    """

    modalities: tuple[str, ...]
    lengths: tuple[Count, ...]  # tokens per modality
    token_dim: Count  # d_model of the model
    backbone_layers: Count
    classes: tuple[str, ...]
    words: tuple[str, ...]  # the vocabulary, MARKS first
    d_model: Count = 128
    layers: Count = 4
    num_kv_heads: Count = 4
    heads_per_group: Count = 2
    head_dim: Count = 16
    ffn_dim: Count = 640
    longest: Count = 72  # words of a sentence
    # Shares of heads and channels that are left out.
    ratio_levels: Annotated[tuple[ShareBelowOne, ...], _ASCENDING] = (0.0, 0.25, 0.5, 0.75)

    def __post_init__(self) -> None:
        check(self, _WHAT, _REMEDY)

    @classmethod
    def of(cls, model: FuseConfig, lengths: tuple[int, ...], words: tuple[str, ...], **sizes: Any) -> CaptionConfig:
        """The head for a model. ``sizes``: fields of this class."""
        return cls(model.names, tuple(lengths), model.d_model, model.layers, model.classes, words, **sizes)

    @property
    def states(self) -> tuple[str, ...]:
        """States of a sensor, by the place of their embedding."""
        return SENSOR_STATES

    def level(self, ratio: float) -> float:
        """The level that a pruning ratio in [0, 1) runs at: the smallest that leaves out at least as much, or the highest."""
        return level_for(ratio, self.ratio_levels)

    def width(self, level: float) -> Width:
        """What a level keeps. At least one group and a multiple of 16 channels stay."""
        groups = max(1, round(self.num_kv_heads * (1 - level)))
        return Width(groups, max(16, int(self.ffn_dim * (1 - level)) // 16 * 16))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CaptionConfig:
        """Inverse of `to_dict`. Raises ParameterError on an unknown or missing key, or a value that its key cannot have."""
        return build(cls, values, _WHAT, _REMEDY)
