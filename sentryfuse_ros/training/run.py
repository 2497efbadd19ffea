"""A whole training run: epochs with progress, metrics and saved state, then the calibrated model."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..checkpoint import save_checkpoint
from ..datasets import dataset, split_groups
from ..datasets.recording import Recording
from ..errors import DataError
from .calibration import fit_temperatures
from .evaluation import accuracy, all_masks, mask_bits, predict_logits, whole_windows
from .recipe import Recipe
from .state import load_state, save_state
from .trainer import Trainer

PREDICTIONS_FILE = "validation_predictions.npz"
METRICS_FILE = "metrics.csv"
LOSSES = ("full", "pruned", "distill", "gate", "gradient")


def train(recipe: Recipe, out: Path, resume: bool = False, calibrate_from: Sequence[Path] = (), command: str = "",
          console: Console | None = None) -> Path:
    """Train by a recipe into ``out``: state, metrics.csv, validation predictions, model.safetensors + model.json.

    Temperatures are fitted on the run's own validation groups, or on the pooled validation predictions of the
    runs in ``calibrate_from`` where it has none (all subjects trained on). Returns the model's folder.
    """
    console = console or Console()
    out.mkdir(parents=True, exist_ok=True)
    source = dataset(recipe.dataset)
    held = _read_predictions(calibrate_from) if calibrate_from else None  # a wrong folder fails now, not in an hour
    recordings = source.load(recipe.specs, recipe.train_groups + recipe.validation_groups)
    training = split_groups(recordings, recipe.train_groups)
    validation = split_groups(recordings, recipe.validation_groups) if recipe.validation_groups else []
    trainer = Trainer(recipe, training, source.CLASSES)
    if resume:
        load_state(trainer, out)
    params = sum(p.numel() for p in trainer.model.parameters())
    console.print(f"{len(training)} recordings, {len(validation)} held out, {params / 1e6:.2f} M parameters, "
                  f"{trainer.steps_per_epoch} steps an epoch")
    fit(trainer, out, validation, console)

    info: dict[str, Any] = {
        "command": command, "recipe": recipe.to_dict(),
        "data": {"dataset": recipe.dataset, "provenance": source.PROVENANCE, "train_groups": list(recipe.train_groups),
                 "validation_groups": list(recipe.validation_groups), "train_recordings": len(training)},
    }
    if validation:
        predictions = _validate(trainer, validation)
        np.savez_compressed(out / PREDICTIONS_FILE, **predictions)
        info["metrics"] = {"validation_accuracy": _accuracies(predictions)}
        held = held or _as_tables(predictions)
    if held:
        info["temperatures"] = fit_temperatures(*held)
        if calibrate_from:
            # Not this network's accuracy, but that of its recipe on subjects held out of training.
            info.setdefault("metrics", {})["cross_validation_accuracy"] = _accuracies({**held[0], "labels": held[1]})
        info["data"]["calibrated_on"] = [p.name for p in calibrate_from] or "own validation groups"
    return save_checkpoint(trainer.average, out, info)


def fit(trainer: Trainer, out: Path, validation: Sequence[Recording], console: Console) -> None:
    """Run the epochs that are left; after each, write state.safetensors and a line of metrics.csv."""
    recipe = trainer.recipe
    inputs, labels = whole_windows(validation, trainer.model.config.modalities) if validation else ({}, None)
    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
               TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    _trim_metrics(out / METRICS_FILE, trainer.epoch)
    with Progress(*columns, console=console) as progress:
        total = recipe.epochs * trainer.steps_per_epoch
        bar = progress.add_task("", total=total, completed=trainer.epoch * trainer.steps_per_epoch, epoch="-", note="")
        while trainer.epoch < recipe.epochs:
            losses = []
            for step in trainer.run_epoch():
                losses.append([step[name] for name in LOSSES])
                progress.update(bar, advance=1, epoch=f"{trainer.epoch + 1}/{recipe.epochs}",
                                note=f"loss {step['full']:.3f} pruned {step['pruned']:.3f}")
            line = dict(zip(LOSSES, np.round(np.mean(losses, axis=0), 5).tolist()))
            if validation and (trainer.epoch % recipe.validate_every == 0 or trainer.epoch == recipe.epochs):
                masks = all_masks(len(trainer.model.lengths))
                logits = predict_logits(trainer.average, inputs, masks, (0.0, 0.5))
                for i, level in enumerate((0.0, 0.5)):
                    line[f"accuracy_{level}"] = round(accuracy(logits[mask_bits(masks[0])][i], labels), 4)
                console.print(f"epoch {trainer.epoch}: loss {line['full']:.3f} validation accuracy "
                              f"{line['accuracy_0.0']:.3f}, half pruned {line['accuracy_0.5']:.3f}")
            _write_metrics(out / METRICS_FILE, trainer.epoch, line)
            save_state(trainer, out)


def _write_metrics(path: Path, epoch: int, line: dict[str, float]) -> None:
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("epoch", *LOSSES, "accuracy_0.0", "accuracy_0.5"))
        if fresh:
            writer.writeheader()
        writer.writerow({"epoch": epoch, **line})


def _trim_metrics(path: Path, epochs: int) -> None:
    """Drop lines of epochs that will be run again (killed between the line and the state)."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:1 + epochs]), encoding="utf-8")
    if epochs == 0:
        path.unlink()


def _validate(trainer: Trainer, validation: Sequence[Recording]) -> dict[str, np.ndarray]:
    inputs, labels = whole_windows(validation, trainer.model.config.modalities)
    levels = trainer.model.config.ratio_levels
    logits = predict_logits(trainer.average, inputs, all_masks(len(trainer.model.lengths)), levels)
    return {"labels": labels, **{mask: np.stack(rows) for mask, rows in logits.items()}}


def _accuracies(predictions: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {mask: [round(accuracy(z, predictions["labels"]), 4) for z in rows]
            for mask, rows in predictions.items() if mask != "labels"}


def _as_tables(predictions: dict[str, np.ndarray]) -> tuple[dict[str, list[np.ndarray]], np.ndarray]:
    return {mask: list(rows) for mask, rows in predictions.items() if mask != "labels"}, predictions["labels"]


def _read_predictions(folders: Sequence[Path]) -> tuple[dict[str, list[np.ndarray]], np.ndarray]:
    """Pool the validation predictions of several runs (as the folds of a cross-validation)."""
    pooled: list[dict[str, np.ndarray]] = []
    for folder in folders:
        try:
            with np.load(folder / PREDICTIONS_FILE, allow_pickle=False) as file:
                pooled.append({name: file[name] for name in file})
        except (OSError, ValueError) as error:
            raise DataError(f"validation predictions {folder / PREDICTIONS_FILE}", str(error),
                            "a run trained with validation_groups", "correct --calibrate-from") from error
    if len({tuple((n, p[n].shape[0], p[n].shape[-1]) for n in sorted(p) if n != "labels") for p in pooled}) != 1:
        raise DataError("validation predictions", "runs of different masks, levels or classes", "runs of one recipe",
                        "correct --calibrate-from")
    joined = {n: np.concatenate([p[n] for p in pooled], axis=0 if n == "labels" else 1) for n in pooled[0]}
    return _as_tables(joined)
