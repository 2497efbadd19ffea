"""Everything that fixes a network's shape. It is written into the checkpoint, and a model is rebuilt from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, NamedTuple

from ..errors import ParameterError
from ..preprocessing.spec import ModalitySpec
from ..validation import CHECKED_BY_RECORD, Count, Rule, ShareBelowOne, build, check, convert, one_of
from .tokenizer_config import TokenizerConfig, tokenizer_config

DEFAULT_RATIO_LEVELS = tuple(round(0.1 * i, 1) for i in range(10))
BACKBONES = ("early", "bottleneck", "cross_modal")  # see backbones.py
KV_PATTERNS = ("strided", "pooled")
# More than any network for a robot has; a damaged file may claim a million.
LayerCount = Annotated[int, Rule(lambda v: 1 <= v <= 256, "1 to 256")]
_WHAT, _REMEDY = "model config", "correct the model section of the training YAML"


class FusionSize(NamedTuple):
    """How much of the backbone a plan runs."""

    layers: int  # the first so many
    ratio: float  # pruning ratio that chooses their units


@dataclass(frozen=True)
class FuseConfig:
    """Shape of a `SentryFuse`. Raises ParameterError naming the field that is wrong."""

    modalities: tuple[ModalitySpec, ...]
    classes: tuple[str, ...]
    backbone: Annotated[str, one_of(BACKBONES)] = "early"
    d_model: Count = 96
    layers: LayerCount = 4
    # K/V heads per attention. A mapping gives each modality its own number where each has a stream of its own; the number of
    # query heads is the same everywhere.
    num_kv_heads: Count | Mapping[str, Count] = 4
    heads_per_group: Count = 2  # query heads that share a K/V head, in the stream that has most K/V heads
    head_dim: Count = 12
    ffn_dim: Count = 384
    channel_step: Count = 16  # FFN channels are kept in multiples of this
    kv_pattern: Annotated[str, one_of(KV_PATTERNS)] = "strided"  # keys from every n-th token, or from the mean of n neighbours
    kv_stride: Mapping[str, Count] = field(default_factory=dict)  # that n by modality; 1 where a modality is not named
    bottleneck_tokens: Count = 4  # backbone "bottleneck": how many tokens the streams share
    fusion_layer: int | None = None  # backbone "bottleneck": the first layer, from 0, with shared tokens; None is half way
    # Options by modality. A mapping in place of a record becomes one, and a modality that is not named has the defaults.
    tokenizer: Annotated[Mapping[str, TokenizerConfig], CHECKED_BY_RECORD] = field(default_factory=dict)
    readout_heads: Count = 4
    gate_hidden: Count = 32
    dropout: Annotated[float, Rule(lambda v: 0 <= v <= 0.9, "0 to 0.9")] = 0.1
    ratio_levels: tuple[float, ...] = DEFAULT_RATIO_LEVELS
    # [layers, pruning ratio of their units] that a plan chosen by measured time may run, the whole backbone first. Empty: all
    # layers at every ratio level.
    fusion_sizes: Annotated[tuple[FusionSize, ...], CHECKED_BY_RECORD] = ()

    def __post_init__(self) -> None:
        check(self, _WHAT, _REMEDY)
        names = list(self.names)
        self._require("modalities", names, bool(names) and len(set(names)) == len(names), "at least one, names distinct")
        self._require(
            "classes",
            self.classes,
            len(self.classes) > 1 and len(set(self.classes)) == len(self.classes),
            "at least two distinct names",
        )
        self._check_num_kv_heads()
        self._check_fusion_layer()
        self._require(
            "ffn_dim", self.ffn_dim, self.ffn_dim % self.channel_step == 0, f"a multiple of {self.channel_step}, the channel_step"
        )
        self._require(
            "d_model",
            self.d_model,
            self.d_model % self.readout_heads == 0,
            f"a multiple of {self.readout_heads}, the readout_heads",
        )
        self._require("tokenizer", self.tokenizer, isinstance(self.tokenizer, Mapping), "a mapping by modality")
        for part, given in (("kv_stride", self.kv_stride), ("tokenizer", self.tokenizer)):
            self._require(part, sorted(given), set(given) <= set(names), f"keys among {names}")
        records = {spec.name: tokenizer_config(spec, self.tokenizer.get(spec.name)) for spec in self.modalities}
        object.__setattr__(self, "tokenizer", records)
        levels = tuple(float(r) for r in self.ratio_levels)
        self._require(
            "ratio_levels",
            levels,
            bool(levels) and levels[0] == 0.0 and levels[-1] <= 0.9 and all(a < b for a, b in zip(levels, levels[1:])),
            "levels that rise from 0 to at most 0.9",
        )
        object.__setattr__(self, "ratio_levels", levels)
        self._check_fusion_sizes()

    def _check_num_kv_heads(self) -> None:
        groups = self.num_kv_heads
        if not isinstance(groups, Mapping):
            return
        self._require("num_kv_heads", groups, self.backbone != "early", "one number: with early fusion all modalities share them")
        self._require("num_kv_heads", sorted(groups), set(groups) == set(self.names), f"exactly {list(self.names)}")
        self._require(
            "num_kv_heads",
            dict(groups),
            all(self.heads % g == 0 for g in groups.values()),
            "divisors of the query heads, which are heads_per_group times the most groups",
        )

    def _check_fusion_layer(self) -> None:
        if self.fusion_layer is None:
            object.__setattr__(self, "fusion_layer", (self.layers - 1) // 2)
        if self.backbone == "bottleneck":
            self._require(
                "fusion_layer",
                self.fusion_layer,
                0 <= self.first_fusion_layer <= self.layers - 2,
                f"0 to {self.layers - 2}: one of the {self.layers} layers must write the shared tokens, a later one read them",
            )

    def _check_fusion_sizes(self) -> None:
        given = convert(self.fusion_sizes, tuple[tuple[Count, ShareBelowOne], ...], f"{_WHAT} fusion_sizes", _REMEDY)
        sizes = [FusionSize(layers, float(ratio)) for layers, ratio in given]
        sizes = sizes or [FusionSize(self.layers, ratio) for ratio in self.ratio_levels]
        # Streams that share tokens must get as far as the layer after the one that writes them.
        least = self.first_fusion_layer + 2 if self.backbone == "bottleneck" else 1
        self._require(
            "fusion_sizes",
            [list(size) for size in sizes],
            sizes[0] == (self.layers, 0.0)
            and len(set(sizes)) == len(sizes)
            and all(least <= size.layers <= self.layers and size.ratio <= 0.9 for size in sizes),
            f"[{self.layers}, 0.0] first, then distinct [layers from {least} to {self.layers}, ratio up to 0.9]",
        )
        object.__setattr__(self, "fusion_sizes", tuple(sizes))

    def _require(self, name: str, seen: object, good: bool, expected: str) -> None:
        if not good:
            raise ParameterError(f"{_WHAT} {name}", seen, expected, _REMEDY)

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in mask order."""
        return tuple(spec.name for spec in self.modalities)

    @property
    def elastic(self) -> bool:
        """Whether a plan may run a part of the network that no ratio level alone stands for."""
        levels = tuple(FusionSize(self.layers, ratio) for ratio in self.ratio_levels)
        return self.fusion_sizes != levels or any(options.sizes for options in self.tokenizer.values())

    @property
    def heads(self) -> int:
        """Query heads per site; the same everywhere."""
        most = max(self.num_kv_heads.values()) if isinstance(self.num_kv_heads, Mapping) else self.num_kv_heads
        return most * self.heads_per_group

    @property
    def first_fusion_layer(self) -> int:
        """The first layer of the bottleneck that has shared tokens, the default filled in."""
        return (self.layers - 1) // 2 if self.fusion_layer is None else self.fusion_layer

    def num_kv_heads_of(self, name: str | None) -> int:
        """K/V heads in the stream of a modality, or, with None, where all modalities share the layers."""
        if not isinstance(self.num_kv_heads, Mapping):
            return self.num_kv_heads
        if name is None:
            raise ParameterError("K/V heads of shared layers", dict(self.num_kv_heads), "one number", _REMEDY)
        return self.num_kv_heads[name]

    def stride_of(self, name: str) -> int:
        """Tokens of a modality per key."""
        return self.kv_stride.get(name, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        out = {k: v for k, v in asdict(self).items() if k != "modalities"}
        out["modalities"] = [spec.to_dict() for spec in self.modalities]
        return out

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FuseConfig:
        """Inverse of `to_dict`; raises ParameterError on unknown or missing keys, or a value that its field cannot have."""
        return build(cls, values, _WHAT, _REMEDY)
