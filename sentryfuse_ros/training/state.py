"""Saving a training run so that it can be resumed as if it had not stopped. Safetensors and JSON; pickle is never used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..errors import CheckpointError, reason_of
from ..files import write_atomically
from .recipe import Recipe
from .trainer import Trainer

STATE_FILE = "state.safetensors"
# Keys of the recipe that may change under a run: where the data set lies now, and what changes the last digits at most.
FREE = ("dataset", "device", "threads", "validate_every")
_RESTART = "start again without --resume, or in another --out"


def save_state(trainer: Trainer, folder: Path) -> None:
    """Write network, its moving average, optimiser, teacher and epoch to folder/state.safetensors, replaced as a whole."""
    tensors = {f"model.{n}": t for n, t in trainer.model.state_dict().items()}
    tensors |= {f"ema_model.{n}": t for n, t in trainer.ema_model.state_dict().items()}
    tensors |= {f"teacher.{n}": t for n, t in trainer.teacher.state_dict().items()}
    tensors |= {
        f"optimiser.{i}.{key}": t for i, slots in trainer.optimiser.state_dict()["state"].items() for key, t in slots.items()
    }
    # The epoch and the recipe travel in the same file as the tensors, so they can never disagree.
    metadata = {"epoch": str(trainer.epoch), "recipe": _recipe_json(trainer), "data": json.dumps(_data(trainer))}
    try:
        write_atomically(folder / STATE_FILE, save_tensors({n: t.contiguous() for n, t in tensors.items()}, metadata))
    except OSError as error:
        raise CheckpointError(
            f"training state {folder / STATE_FILE}",
            reason_of(error),
            "room to write",
            "free some space, then continue with --resume",
        ) from error


def load_state(trainer: Trainer, folder: Path) -> list[str]:
    """Bring a fresh trainer to where the saved one was; returns remarks on what differs from the run as it was started.

    The recipe must be the same, except for `FREE` keys and for more epochs, and so must the examples. Raises CheckpointError
    where there is nothing to resume, the file is damaged, or something else differs.
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
        raise CheckpointError(f"training state {path}", reason_of(error), "a whole state file", _RESTART) from error
    # Keys that the recipe got after the run was started have their defaults.
    defaults = _recipe_defaults(trainer.recipe)
    then, now = (_used({**defaults, **json.loads(r)}, trainer) for r in (recipe, _recipe_json(trainer)))
    longer = now["epochs"] > then["epochs"]
    free = (*FREE, "epochs") if longer else FREE
    if changed := sorted(k for k in set(then) | set(now) if k not in free and then.get(k) != now.get(k)):
        raise _differs(path, "recipe", changed, "the recipe that the run was started with, or one with more epochs")
    # The examples must be the same too: classes in another order would give the old weights other names.
    data_then, data_now = json.loads(metadata.get("data", "{}")), _data(trainer)
    if changed := [name for name in data_then if data_then[name] != data_now.get(name)]:
        raise _differs(path, "data set", changed, "the examples that the run was started with")
    remarks = [f"{key} is now {now[key]}, it was {then[key]}" for key in FREE if then.get(key) != now.get(key)]
    if longer:
        remarks.append(
            f"the run of {then['epochs']} epochs goes on to {now['epochs']}: from epoch {epoch + 1} on, learning rate, missing "
            f"sensors and pruning are those of a run of {now['epochs']} epochs"
        )

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}

    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, t in part("optimiser.").items():
        index, key = name.split(".")
        slots.setdefault(int(index), {})[key] = t
    try:
        trainer.model.load_state_dict(part("model."))
        trainer.ema_model.load_state_dict(part("ema_model."))
        trainer.optimiser.load_state_dict({**trainer.optimiser.state_dict(), "state": slots})
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"training state {path}", str(error).splitlines()[0], "the network of the recipe", _RESTART
        ) from error
    trainer.teacher.load_state_dict(part("teacher."))
    trainer.epoch = epoch
    return remarks


def _differs(path: Path, what: str, names: list[str], expected: str) -> CheckpointError:
    return CheckpointError(f"training state {path}", f"another {what} (differs in {', '.join(names)})", expected, _RESTART)


def recipe_differences(trained_by: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """Keys in which a recipe differs from the one, as JSON, that a model was trained by, except for `FREE` keys."""
    then = {**_recipe_defaults(recipe), **trained_by}
    now = json.loads(json.dumps(recipe.to_dict()))
    return sorted(key for key in {*then, *now} if key not in FREE and then.get(key) != now.get(key))


def _recipe_defaults(recipe: Recipe) -> dict[str, Any]:
    defaults = {f.name: f.default for f in fields(recipe) if f.default is not MISSING}
    return json.loads(json.dumps(defaults))


def _used(recipe: dict[str, Any], trainer: Trainer) -> dict[str, Any]:
    """The recipe without what this stage does not read, and without the length of the second stage, which is in epochs."""
    out = {key: value for key, value in recipe.items() if key not in trainer.UNUSED}
    if isinstance(section := out.get("elastic"), dict):
        out["elastic"] = {key: value for key, value in section.items() if key != "epochs"}
    return out


def _data(trainer: Trainer) -> dict[str, Any]:
    config = trainer.model.config
    return {
        "examples": len(trainer.examples),
        "labels": hashlib.sha256(np.ascontiguousarray(trainer.examples.labels, np.int64).tobytes()).hexdigest()[:16],
        "classes": list(config.classes),
        "modalities": json.loads(json.dumps([spec.to_dict() for spec in config.modalities])),
        **trainer.begins_with,
    }


def _recipe_json(trainer: Trainer) -> str:
    return json.dumps(trainer.recipe.to_dict(), sort_keys=True)
