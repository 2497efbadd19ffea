"""Everything that fixes a network's shape. Written into the checkpoint; a model is rebuilt from it alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import ParameterError
from ..preprocessing.spec import ModalitySpec

DEFAULT_RATIO_LEVELS = tuple(round(0.1 * i, 1) for i in range(10))
BACKBONES = ("early", "bottleneck", "cross_modal")  # see backbones.py
KV_PATTERNS = ("strided", "pooled")


@dataclass(frozen=True)
class FuseConfig:
    """Shape of a `SentryFuse`. Raises ParameterError naming the field that is wrong."""

    modalities: tuple[ModalitySpec, ...]
    classes: tuple[str, ...]
    backbone: str = "early"
    d_model: int = 96
    layers: int = 4
    num_kv_heads: int | Mapping[str, int] = 4  # K/V heads; per modality where each has a stream, the query heads stay as many
    heads_per_group: int = 2  # query heads that share a K/V head, where these are most
    head_dim: int = 12
    ffn_dim: int = 384
    channel_step: int = 16  # FFN channels are kept in multiples of this
    kv_pattern: str = "strided"  # K/V from every n-th token, or "pooled": from the mean of n neighbours
    kv_stride: Mapping[str, int] = field(default_factory=dict)  # modality -> that n; 1 if absent
    bottleneck_tokens: int = 4  # bottleneck: tokens that the streams share
    fusion_layer: int | None = None  # bottleneck: first layer, from 0, that has them; half way if None
    tokenizer: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # modality -> options, see tokenizers.py
    readout_heads: int = 4
    gate_hidden: int = 32
    dropout: float = 0.1
    ratio_levels: tuple[float, ...] = DEFAULT_RATIO_LEVELS

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.modalities]
        self._check("modalities", names, bool(names) and len(set(names)) == len(names), "at least one, names distinct")
        self._check(
            "classes",
            self.classes,
            len(self.classes) > 1 and len(set(self.classes)) == len(self.classes),
            "at least two distinct names",
        )
        self._check("backbone", self.backbone, self.backbone in BACKBONES, "one of " + ", ".join(BACKBONES))
        self._check("kv_pattern", self.kv_pattern, self.kv_pattern in KV_PATTERNS, "one of " + ", ".join(KV_PATTERNS))
        for name in (
            "d_model",
            "layers",
            "heads_per_group",
            "head_dim",
            "ffn_dim",
            "channel_step",
            "readout_heads",
            "gate_hidden",
            "bottleneck_tokens",
        ):
            self._check(name, getattr(self, name), _counts([getattr(self, name)]), "a positive integer")
        self._check_num_kv_heads(names)
        if self.fusion_layer is None:
            object.__setattr__(self, "fusion_layer", (self.layers - 1) // 2)
        if self.backbone == "bottleneck":
            self._check(
                "fusion_layer",
                self.fusion_layer,
                isinstance(self.fusion_layer, int) and 0 <= self.fusion_layer <= self.layers - 2,
                f"0 to {self.layers - 2}: one of the {self.layers} layers must write the shared tokens, a later one read",
            )
        self._check(
            "ffn_dim", self.ffn_dim, self.ffn_dim % self.channel_step == 0, f"a multiple of channel_step {self.channel_step}"
        )
        self._check(
            "d_model", self.d_model, self.d_model % self.readout_heads == 0, f"a multiple of readout_heads {self.readout_heads}"
        )
        self._check("dropout", self.dropout, isinstance(self.dropout, (int, float)) and 0 <= self.dropout <= 0.9, "0 to 0.9")
        for part in (self.kv_stride, self.tokenizer):
            self._check("kv_stride and tokenizer", sorted(part), set(part) <= set(names), f"keys among {names}")
        self._check("kv_stride", dict(self.kv_stride), _counts(self.kv_stride.values()), "positive integers")
        levels = tuple(float(r) for r in self.ratio_levels)
        self._check(
            "ratio_levels",
            levels,
            levels and levels[0] == 0.0 and levels[-1] <= 0.9 and all(a < b for a, b in zip(levels, levels[1:])),
            "rising from 0 to at most 0.9",
        )
        object.__setattr__(self, "ratio_levels", levels)

    def _check_num_kv_heads(self, names: list[str]) -> None:
        groups = self.num_kv_heads
        if not isinstance(groups, Mapping):
            self._check("num_kv_heads", groups, _counts([groups]), "a positive integer, or one per modality")
            return
        self._check("num_kv_heads", groups, self.backbone != "early", "one number: with early fusion all modalities share them")
        self._check("num_kv_heads", sorted(groups), set(groups) == set(names), f"exactly {names}")
        self._check(
            "num_kv_heads",
            dict(groups),
            _counts(groups.values()) and all(self.heads % g == 0 for g in groups.values()),
            "divisors of the query heads, which are heads_per_group times the most groups",
        )

    def _check(self, what: str, seen: Any, good: Any, expected: str) -> None:
        if not good:
            raise ParameterError(f"model config {what}", seen, expected, "correct the model section of the training YAML")

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in mask order."""
        return tuple(spec.name for spec in self.modalities)

    @property
    def heads(self) -> int:
        """Query heads per site; the same everywhere."""
        most = max(self.num_kv_heads.values()) if isinstance(self.num_kv_heads, Mapping) else self.num_kv_heads
        return most * self.heads_per_group

    def num_kv_heads_of(self, name: str | None) -> int:
        """K/V heads in the stream of a modality, or, with None, where all share the layers."""
        return self.num_kv_heads[name] if isinstance(self.num_kv_heads, Mapping) else self.num_kv_heads

    def stride_of(self, name: str) -> int:
        """One key from so many tokens of a modality."""
        return self.kv_stride.get(name, 1)

    def dense_attention(self) -> FuseConfig:
        """The same network with ordinary attention: a K/V head for every query head, keys and values from every token."""
        return replace(self, num_kv_heads=self.heads, heads_per_group=1, kv_pattern="strided", kv_stride={})

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        out = {k: v for k, v in asdict(self).items() if k != "modalities"}
        out["modalities"] = [spec.to_dict() for spec in self.modalities]
        return out

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FuseConfig:
        """Inverse of `to_dict`; raises ParameterError on unknown or missing keys."""
        known = {f.name for f in fields(cls)}
        if not {"modalities", "classes"} <= set(values) <= known:
            raise ParameterError("model config keys", sorted(values), sorted(known), "add the missing, drop the rest")
        values = dict(values)
        values["modalities"] = tuple(ModalitySpec.from_dict(spec) for spec in values["modalities"])
        for name in ("classes", "ratio_levels"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)


def _counts(values: Iterable[Any]) -> bool:
    return all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values)
