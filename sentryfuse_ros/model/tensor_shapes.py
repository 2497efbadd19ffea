"""What a checkpoint must hold: the shape of every tensor of a `SentryFuse`, worked out from its configuration alone.

A robot checks a checkpoint by it without importing torch; a test holds it against the network itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .config import FuseConfig
from .sites import all_sites
from .tokenizer_config import Shapes, leading_weights


def token_counts(config: FuseConfig) -> tuple[int, ...]:
    """Tokens of one window per modality, in mask order. Raises ParameterError where a tokeniser does not fit its window."""
    return tuple(config.tokenizer[spec.name].token_count(spec) for spec in config.modalities)


def tensor_shapes(config: FuseConfig) -> Shapes:
    """Shape of every tensor of the network by its name in the checkpoint. All tensors are float32."""
    d = config.d_model
    shapes: Shapes = {}
    for i, (spec, count) in enumerate(zip(config.modalities, token_counts(config))):
        inside = config.tokenizer[spec.name].tensor_shapes(spec, d)
        shapes |= {f"tokenizers.{i}.{name}": shape for name, shape in inside.items()}
        shapes[f"positions.{i}"] = (count, d)
    if config.backbone == "bottleneck":
        shapes["backbone.bottleneck"] = (config.bottleneck_tokens, d)
    sites = all_sites(config)
    for i, site in enumerate(sites):
        query_rows = site.num_kv_heads * site.heads_per_group * config.head_dim
        kv_rows = 2 * site.num_kv_heads * config.head_dim
        for name, rows, columns in (
            ("attention.query", query_rows, d),
            ("attention.kv", kv_rows, d),
            ("attention.out", d, query_rows),
            ("up", config.ffn_dim, d),
            ("down", d, config.ffn_dim),
        ):
            shapes |= _linear(f"backbone.layers.{i}.{name}", rows, columns)
        for name in ("norm_attention", "norm_ffn"):
            shapes |= _norm(f"backbone.layers.{i}.{name}", d)
    shapes |= _norm("readout.norm", d) | _linear("readout.score", config.readout_heads, d)
    shapes |= _linear("readout.value", d, d) | _linear("readout.classify", len(config.classes), d)
    units = len(sites) * (config.heads + config.ffn_dim)
    shapes |= _linear("gate.hidden", config.gate_hidden, len(config.modalities))
    shapes |= {"gate.score.weight": (units, config.gate_hidden), "gate.static": (units,)}
    return shapes


def stem_weights(config: FuseConfig, tensors: Mapping[str, np.ndarray], place: int, size: int) -> dict[str, np.ndarray]:
    """The weights of one size of the stem at a place in the mask, by their names inside it, from those of the network."""
    spec, prefix = config.modalities[place], f"tokenizers.{place}."
    options = config.tokenizer[spec.name].at_size(size)
    weights = {name[len(prefix) :]: w for name, w in tensors.items() if name.startswith(prefix)}
    return leading_weights(weights, options.tensor_shapes(spec, config.d_model))


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}
