"""The file of a caption head, captions.safetensors beside the model whose tokens it reads: weights in half precision.

What else there is to know stands in the header of the file, as JSON: the shape of the head, the model, how well it did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save as save_tensors

from ..errors import CheckpointError, reason_of
from ..files import write_atomically
from ..model.checkpoint import check_finite, checkpoint_paths
from .config import CaptionConfig

FILE = "captions.safetensors"
FORMAT = "sentryfuse-captions 1"
_REMEDY = "train it again (sentryfuse train-captions)"


@dataclass(frozen=True)
class CaptionCheckpoint:
    """A caption head. ``tensors`` are float32. ``info``: sha256 of the model's weights, metrics, command."""

    config: CaptionConfig
    tensors: Mapping[str, np.ndarray]
    info: Mapping[str, Any]


def captions_path(model: str | Path) -> Path:
    """The caption head of a model, given as its folder or its .safetensors file."""
    tensors, _ = checkpoint_paths(model)
    return tensors.with_name(FILE)


def model_digest(model: str | Path) -> str:
    """What identifies the weights of a model."""
    return hashlib.sha256(checkpoint_paths(model)[0].read_bytes()).hexdigest()


def write_captions(config: CaptionConfig, tensors: Mapping[str, np.ndarray], path: Path, info: Mapping[str, Any]) -> None:
    """Write a head. ``info`` needs the key "model_sha256".

    Raises CheckpointError, and writes nothing, where a weight is not finite in half precision.
    """
    header = {"format": FORMAT, "config": config.to_dict(), **info}
    with np.errstate(over="ignore"):
        half = {name: np.ascontiguousarray(values, np.float16) for name, values in tensors.items()}
    check_finite(half, f"caption head to be written to {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save_tensors(half, {"sentryfuse": json.dumps(header)}))


def read_captions(path: Path) -> CaptionCheckpoint:
    """Read a head. Raises CheckpointError naming the file, what it holds and the remedy."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            info = json.loads((file.metadata() or {}).get("sentryfuse", "{}"))
            tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        remedy = "train one (sentryfuse train-captions), or do without captions"
        raise CheckpointError(f"caption head {path}", "no such file", f"{FILE} beside the model", remedy) from error
    # numpy raises a TypeError for a type of tensor that it does not have, such as bfloat16.
    except (OSError, ValueError, TypeError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"caption head {path}", reason_of(error), "a whole safetensors file", _REMEDY) from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        seen = info.get("format") if isinstance(info, dict) else type(info).__name__
        raise CheckpointError(f"caption head {path} format", seen, FORMAT, _REMEDY)
    try:
        config = CaptionConfig.from_dict(info["config"])
        expected = tensor_shapes(config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"caption head {path} config", str(error), "a head that this version can build", _REMEDY) from error
    shapes = {name: values.shape for name, values in tensors.items()}
    if shapes != expected:
        odd = sorted({n for n in {*shapes, *expected} if shapes.get(n) != expected.get(n)})[0]
        raise CheckpointError(f"caption head {path} tensor {odd}", shapes.get(odd), expected.get(odd), _REMEDY)
    if not all(np.isfinite(values).all() for values in tensors.values()):
        raise CheckpointError(f"caption head {path}", "NaN or infinity", "finite values", _REMEDY)
    return CaptionCheckpoint(config, tensors, info)


def check_belongs(checkpoint: CaptionCheckpoint, path: Path, model_sha256: str) -> None:
    """Raises CheckpointError where a head was trained on the tokens of other weights: it would say nonsense."""
    if checkpoint.info.get("model_sha256") != model_sha256:
        seen = str(checkpoint.info.get("model_sha256"))[:12]
        raise CheckpointError(f"caption head {path}", f"trained on model {seen}", f"on model {model_sha256[:12]}", _REMEDY)


def tensor_shapes(config: CaptionConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a head (`decoder.CaptionDecoder`)."""
    d, token = config.d_model, config.token_dim
    heads, kv = config.num_kv_heads * config.heads_per_group * config.head_dim, config.num_kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "word": (len(config.words), d),
        "position": (config.longest, d),
        "reader.place": (sum(config.lengths), d),
        "reader.depth": (config.backbone_layers, d),
        "reader.state": (len(config.modalities), len(config.states), d),
        "reader.token.weight": (d, 2 * token),
        "reader.token.bias": (d,),
        "reader.answer.weight": (d, len(config.classes)),
        "reader.answer.bias": (d,),
    }
    norms = {"reader.norm_stem": token, "reader.norm_fused": token, "norm_rows": d, "norm": d}
    for layer in range(config.layers):
        prefix = f"layers.{layer}."
        norms |= {prefix + name: d for name in ("norm_words", "norm_percepts", "norm_ffn")}
        shapes |= {
            prefix + "up.weight": (config.ffn_dim, d),
            prefix + "up.bias": (config.ffn_dim,),
            prefix + "down.weight": (d, config.ffn_dim),
            prefix + "down.bias": (d,),
        }
        for name in ("words.", "percepts."):
            shapes |= {
                prefix + name + "query.weight": (heads, d),
                prefix + name + "query.bias": (heads,),
                prefix + name + "key.weight": (kv, d),
                prefix + name + "value.weight": (kv, d),
                prefix + name + "value.bias": (kv,),
                prefix + name + "out.weight": (d, heads),
                prefix + name + "out.bias": (d,),
            }
    for name, size in norms.items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return shapes
