"""Everything that fixes a network's shape. Written into the checkpoint; a model is rebuilt from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import ParameterError
from ..modalities.inputs.spec import ModalitySpec

DEFAULT_RATIO_LEVELS = tuple(round(0.1 * i, 1) for i in range(10))
BACKBONES = ("early",)  # one transformer over all tokens; further ones are added here and in backbones.py


@dataclass(frozen=True)
class FuseConfig:
    """Shape of a `SentryFuse`. Raises ParameterError naming the field that is wrong."""

    modalities: tuple[ModalitySpec, ...]
    classes: tuple[str, ...]
    backbone: str = "early"
    d_model: int = 96
    layers: int = 4
    kv_groups: int = 4          # K/V heads
    heads_per_group: int = 2    # query heads that share one K/V head
    head_dim: int = 12
    ffn_channels: int = 384
    channel_step: int = 16      # FFN channels are kept in multiples of this
    kv_stride: Mapping[str, int] = field(default_factory=dict)        # modality -> K/V from every n-th token; 1 if absent
    tokenizer: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # modality -> options, see tokenizers.py
    readout_heads: int = 4
    gate_hidden: int = 32
    dropout: float = 0.1
    ratio_levels: tuple[float, ...] = DEFAULT_RATIO_LEVELS

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.modalities]
        self._check("modalities", names, bool(names) and len(set(names)) == len(names), "at least one, names distinct")
        self._check("classes", self.classes, len(self.classes) > 1 and len(set(self.classes)) == len(self.classes),
                    "at least two distinct names")
        self._check("backbone", self.backbone, self.backbone in BACKBONES, "one of " + ", ".join(BACKBONES))
        for name in ("d_model", "layers", "kv_groups", "heads_per_group", "head_dim", "ffn_channels", "channel_step",
                     "readout_heads", "gate_hidden"):
            value = getattr(self, name)
            self._check(name, value, isinstance(value, int) and value > 0, "a positive integer")
        self._check("ffn_channels", self.ffn_channels, self.ffn_channels % self.channel_step == 0,
                    f"a multiple of channel_step {self.channel_step}")
        self._check("d_model", self.d_model, self.d_model % self.readout_heads == 0,
                    f"a multiple of readout_heads {self.readout_heads}")
        for part in (self.kv_stride, self.tokenizer):
            self._check("kv_stride and tokenizer", sorted(part), set(part) <= set(names), f"keys among {names}")
        levels = tuple(float(r) for r in self.ratio_levels)
        self._check("ratio_levels", levels, levels and levels[0] == 0.0 and levels[-1] <= 0.9 and
                    all(a < b for a, b in zip(levels, levels[1:])), "rising from 0 to at most 0.9")
        object.__setattr__(self, "ratio_levels", levels)

    def _check(self, what: str, seen: Any, good: Any, expected: str) -> None:
        if not good:
            raise ParameterError(f"model config {what}", seen, expected, "correct the model section of the training YAML")

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in mask order."""
        return tuple(spec.name for spec in self.modalities)

    @property
    def heads(self) -> int:
        """Query heads per layer."""
        return self.kv_groups * self.heads_per_group

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
