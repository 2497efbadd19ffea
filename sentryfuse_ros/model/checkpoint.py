"""Model files: tensors in ``model.safetensors``, everything else in ``model.json`` beside it, and what the inputs look like in
``model.trust.json``, which a model need not have. Pickle is never used.

Nothing here needs torch: a robot reads its checkpoint as numpy arrays. `model.saved` turns them into a network and back.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ..errors import CheckpointError, ParameterError, reason_of
from ..files import write_atomically
from .config import FuseConfig
from .tensor_shapes import tensor_shapes

FORMAT, TRUST_FORMAT = "sentryfuse-checkpoint", "sentryfuse-trust"
FORMAT_VERSION = 1
_JSON_BYTES = 64_000_000  # far more than the JSON of any model has
_HEADER_BYTES = 16_000_000  # the same of the header of a safetensors file
_LEAST_BYTES = 1_000_000
_RETRAIN = "train it again (sentryfuse train), or restore the file from the release"
_TRUST_AGAIN = "make it again (sentryfuse trust), or remove it: then no sensor is judged"


@dataclass(frozen=True)
class Checkpoint:
    """A model as its files hold it. ``tensors`` are float32; ``info`` is the JSON, with the model's ``name`` added."""

    config: FuseConfig
    tensors: Mapping[str, np.ndarray]
    info: Mapping[str, Any]
    trust: Mapping[str, Any] = field(default_factory=dict)  # JSON of the trust file; empty where there is none


def checkpoint_paths(path: str | Path) -> tuple[Path, Path]:
    """(tensors, json) of a model given as its folder or as one of the two."""
    path = Path(path)
    tensors = path.with_suffix(".safetensors") if path.suffix in (".safetensors", ".json") else path / "model.safetensors"
    return tensors, tensors.with_suffix(".json")


def trust_path(path: str | Path) -> Path:
    """The trust file of a model, whether it exists or not: what the inputs of the model look like (docs/TRUST.md)."""
    return checkpoint_paths(path)[0].with_suffix(".trust.json")


def write_trust(path: str | Path, record: Mapping[str, Any]) -> Path:
    """Write the trust file of a model; returns its path. It does not depend on the weights."""
    file = trust_path(path)
    write_atomically(file, json.dumps({**record, "format": TRUST_FORMAT}) + "\n")
    return file


def write_checkpoint(
    config: FuseConfig, tensors: Mapping[str, np.ndarray], path: str | Path, info: Mapping[str, Any] | None = None
) -> Path:
    """Write a model and its JSON; returns the folder.

    ``info`` may hold temperatures {mask bits: [one per ratio level]}, metrics, data, recipe and command. Each file is replaced
    as a whole, the JSON last, so a crash never leaves a half-written model that loads. Raises CheckpointError, and writes
    nothing, where a tensor holds NaN or infinity, since such a model could not be read back.
    """
    tensors_path, json_path = checkpoint_paths(path)
    check_finite(tensors, f"model to be written to {tensors_path}")
    tensors_path.parent.mkdir(parents=True, exist_ok=True)
    payload = save_tensors({name: np.ascontiguousarray(values) for name, values in tensors.items()})
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": config.to_dict(),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "tensors": {n: {"shape": list(t.shape), "dtype": t.dtype.name} for n, t in tensors.items()},
        "temperatures": {},
        "metrics": {},
        "data": {},
        "command": "",
        **dict(info or {}),
    }
    write_atomically(tensors_path, payload)
    write_atomically(json_path, json.dumps(record, indent=1) + "\n")
    return tensors_path.parent


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a model from its folder or its .safetensors file.

    The name, shape, type and values of every tensor are checked. Raises CheckpointError naming the file, what it holds, what was
    expected, and the remedy.
    """
    tensors_path, json_path = checkpoint_paths(path)
    info = _read_json(json_path)
    try:
        config = FuseConfig.from_dict(info["config"])
        expected = tensor_shapes(config)
    except (ParameterError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"model file {json_path} config", str(error), "a network this version can build", _RETRAIN
        ) from error
    tensors = _read_tensors(tensors_path, info, sum(4 * math.prod(shape) for shape in expected.values()))
    _check_tensors(tensors_path, tensors, expected)
    _check_temperatures(json_path, info, config)
    info["name"] = tensors_path.absolute().parent.name if tensors_path.stem == "model" else tensors_path.stem
    trust_file = trust_path(path)
    return Checkpoint(config, tensors, info, _read_json(trust_file, TRUST_FORMAT, _TRUST_AGAIN) if trust_file.exists() else {})


def _read_file(path: Path, most_bytes: int) -> bytes:
    """The content of an ordinary file of a size that it may have. Raises OSError or CheckpointError, before anything is read."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
        seen = f"{status.st_size} bytes" if stat.S_ISREG(status.st_mode) else "no ordinary file"
        raise CheckpointError(f"model file {path}", seen, f"an ordinary file of at most {most_bytes} bytes", _RETRAIN)
    return path.read_bytes()


def _read_json(path: Path, expected: str = FORMAT, again: str = _RETRAIN) -> dict[str, Any]:
    try:
        info = json.loads(_read_file(path, _JSON_BYTES).decode("utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"model file {path}",
            "no such file",
            "a JSON file beside the .safetensors",
            "give the folder that holds model.safetensors and model.json",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"model file {path}", reason_of(error), "readable JSON", again) from error
    if not isinstance(info, dict) or info.get("format") != expected:
        seen = info.get("format") if isinstance(info, dict) else type(info).__name__
        written = "give a model written by sentryfuse train" if expected == FORMAT else again
        raise CheckpointError(f"model file {path} format", seen, expected, written)
    if info.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"model file {path} format_version",
            info.get("format_version"),
            FORMAT_VERSION,
            f"use the release that wrote it; otherwise {again}",
        )
    return info


def _read_tensors(path: Path, info: Mapping[str, Any], tensor_bytes: int) -> dict[str, np.ndarray]:
    try:
        payload = _read_file(path, max(2 * tensor_bytes, _LEAST_BYTES) + _HEADER_BYTES)  # whole, a float64 tensor is still named
    except OSError as error:
        raise CheckpointError(
            f"model file {path}",
            reason_of(error),
            "a safetensors file",
            "give the folder that holds model.safetensors and model.json",
        ) from error
    try:
        tensors = load_tensors(payload)
    except (safetensors.SafetensorError, ValueError) as error:
        raise CheckpointError(f"model file {path}", str(error), "a whole safetensors file", _RETRAIN) from error
    digest = hashlib.sha256(payload).hexdigest()
    if digest != info.get("sha256"):
        raise CheckpointError(
            f"model file {path} sha256",
            digest[:12],
            str(info.get("sha256"))[:12] + " (in the JSON)",
            "the two files do not belong together or one is damaged: " + _RETRAIN,
        )
    return tensors


def _check_tensors(path: Path, tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]) -> None:
    for what, names in (("is missing", set(expected) - set(tensors)), ("is unknown", set(tensors) - set(expected))):
        if names:
            raise CheckpointError(
                f"model file {path}", f"tensor {min(names)} {what}", "the tensors of the network in its JSON", _RETRAIN
            )
    for name, want in expected.items():
        have = tensors[name]
        if have.shape != want or have.dtype != np.float32:
            raise CheckpointError(f"model file {path} tensor {name}", f"{have.shape} {have.dtype}", f"{want} float32", _RETRAIN)
        if not np.isfinite(have).all():
            raise CheckpointError(f"model file {path} tensor {name}", "NaN or infinity", "finite values", _RETRAIN)


def check_finite(tensors: Mapping[str, np.ndarray], what: str) -> None:
    """Raises CheckpointError where a tensor of a network that was trained holds NaN or infinity."""
    if bad := [name for name, values in tensors.items() if not np.isfinite(values).all()]:
        remedy = "lower the learning rate, or look for wild values in the data"
        raise CheckpointError(what, f"NaN or infinity in tensor {bad[0]}", "finite values", remedy)


def _check_temperatures(path: Path, info: Mapping[str, Any], config: FuseConfig) -> None:
    levels, bits = len(config.ratio_levels), len(config.modalities)
    temperatures = info.get("temperatures", {})
    good = isinstance(temperatures, dict) and all(
        len(mask) == bits
        and isinstance(row, list)
        and len(row) == levels
        and all(isinstance(t, (int, float)) and 0 < t < 1e3 for t in row)
        for mask, row in temperatures.items()
    )
    if not good:
        raise CheckpointError(
            f"model file {path} temperatures",
            str(temperatures)[:80],
            f"{{mask of {bits} bits: {levels} positive numbers}}",
            _RETRAIN,
        )
