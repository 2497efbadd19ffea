"""Saving a training run so that it can go on as if it had not stopped. Safetensors and JSON, never pickle."""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..errors import CheckpointError
from .recipe import Recipe
from .trainer import Trainer

STATE_FILE = "state.safetensors"
_RESTART = "start again without --resume, or in another --out"


def save_state(trainer: Trainer, folder: Path) -> None:
    """Network, its average, optimiser, teacher and epoch -> folder/state.safetensors, replaced as a whole."""
    tensors = {f"model.{n}": t for n, t in trainer.model.state_dict().items()}
    tensors |= {f"average.{n}": t for n, t in trainer.average.state_dict().items()}
    tensors |= {f"teacher.{n}": t for n, t in trainer.teacher.state_dict().items()}
    tensors |= {
        f"optimiser.{i}.{key}": t for i, slots in trainer.optimiser.state_dict()["state"].items() for key, t in slots.items()
    }
    # The epoch and the recipe travel in the same file as the tensors, so they can never disagree.
    metadata = {"epoch": str(trainer.epoch), "recipe": _recipe_json(trainer), "data": json.dumps(_data(trainer))}
    partial = folder / (STATE_FILE + ".partial")
    try:
        partial.write_bytes(save_tensors({n: t.contiguous() for n, t in tensors.items()}, metadata))
        os.replace(partial, folder / STATE_FILE)
    except OSError as error:
        raise CheckpointError(
            f"training state {folder / STATE_FILE}",
            error.strerror or str(error),
            "room to write",
            "free some space, then go on with --resume",
        ) from error


def load_state(trainer: Trainer, folder: Path) -> None:
    """Put a fresh trainer of the same recipe where the saved one was.

    Raises CheckpointError where there is nothing to resume, the file is damaged, or the recipe differs.
    """
    path = folder / STATE_FILE
    try:
        payload = path.read_bytes()
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_tensors(payload)
        epoch, recipe = int(metadata["epoch"]), metadata["recipe"]
    except FileNotFoundError as error:
        raise CheckpointError(f"training state {path}", "no such file", "a run to resume", "drop --resume") from error
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"training state {path}", str(error), "a whole state file", _RESTART) from error
    # Keys that came to the recipe after the run was started have their defaults.
    old, new = ({**_recipe_defaults(), **json.loads(r)} for r in (recipe, _recipe_json(trainer)))
    if old != new:
        changed = sorted(k for k in set(old) | set(new) if old.get(k) != new.get(k))
        raise CheckpointError(
            f"training state {path}",
            f"another recipe (differs in {', '.join(changed)})",
            "the recipe it was started with",
            _RESTART,
        )
    # The examples too: classes in another order would give the old weights other names.
    then, now = json.loads(metadata.get("data", "{}")), _data(trainer)
    changed = [name for name in then if then[name] != now[name]]
    if changed:
        raise CheckpointError(
            f"training state {path}",
            f"another data set (differs in {', '.join(changed)})",
            "the examples it was started with",
            _RESTART,
        )

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}

    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, t in part("optimiser.").items():
        index, key = name.split(".")
        slots.setdefault(int(index), {})[key] = t
    try:
        trainer.model.load_state_dict(part("model."))
        trainer.average.load_state_dict(part("average."))
        trainer.optimiser.load_state_dict({**trainer.optimiser.state_dict(), "state": slots})
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"training state {path}", str(error).splitlines()[0], "the network of the recipe", _RESTART
        ) from error
    trainer.teacher.load_state_dict(part("teacher."))
    trainer.epoch = epoch


def _recipe_defaults() -> dict[str, Any]:
    return json.loads(json.dumps({f.name: f.default for f in fields(Recipe) if f.default is not MISSING}))


def _data(trainer: Trainer) -> dict[str, Any]:
    config = trainer.model.config
    return {
        "examples": len(trainer.examples),
        "classes": list(config.classes),
        "modalities": json.loads(json.dumps([spec.to_dict() for spec in config.modalities])),
    }


def _recipe_json(trainer: Trainer) -> str:
    return json.dumps(trainer.recipe.to_dict(), sort_keys=True)
