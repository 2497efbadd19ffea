"""A whole training run: epochs with progress, metrics and saved state, then the calibrated model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..datasets import LabelledDataset, dataset
from ..errors import CheckpointError
from ..masks import all_masks, mask_to_bits
from ..model.saved import save_checkpoint
from .checks import check_classes, check_modalities
from .distributed import Distributed
from .examples import Examples, WindowExamples, load_examples
from .logits import accuracy, predict_logits
from .metrics import LOSSES, Metrics, StepLosses
from .recipe import Recipe
from .state import STATE_FILE, load_state, save_state
from .trainer import Trainer
from .validation_predictions import ValidationPredictions

WATCHED = 1024  # at most so many validation examples are predicted during the training; all of them at its end


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    calibrate_from: Sequence[Path] = (),
    command: str = "",
    console: Console | None = None,
) -> Path:
    """Train by a recipe into ``out``: state, metrics.csv, validation predictions, model.safetensors and model.json.

    Temperatures are fitted on the run's own validation groups, or on the pooled validation predictions of the runs in
    ``calibrate_from`` where it has none because all groups are trained on. Returns the folder of the model.
    """
    distributed = Distributed()
    console = (console or Console()) if distributed.first else Console(quiet=True)
    _check_folder(out, resume)
    source = dataset(recipe.dataset)
    # Read first, so that a wrong folder is found now and not after an hour of training.
    pooled = ValidationPredictions.pool(calibrate_from) if calibrate_from else None
    training = load_examples(source, recipe, recipe.train_groups)
    validation = load_examples(source, recipe, recipe.validation_groups) if recipe.validation_groups else None
    for remark in check_classes(source.CLASSES, training, validation, recipe):
        console.print(remark, style="yellow", markup=False)
    check_modalities(training, recipe)
    trainer = Trainer(recipe, training, source.CLASSES, distributed)
    if resume:
        load_state(trainer, out)
    params = sum(p.numel() for p in trainer.model.parameters())
    console.print(
        f"{len(training)} examples, {0 if validation is None else len(validation)} held out, "
        f"{params / 1e6:.2f} M parameters, {trainer.steps_per_epoch} steps an epoch, on {trainer.device}"
        + (f", {distributed.count} ranks" if distributed.count > 1 else "")
    )
    fit(trainer, out, validation, console)
    distributed.wait()
    distributed.close()
    if not distributed.first:
        return out

    data = _describe_data(recipe, source, training, validation)
    info: dict[str, Any] = {"command": command, "recipe": recipe.to_dict(), "data": data}
    calibration = pooled
    if validation is not None:
        predictions = ValidationPredictions.predict(trainer.ema_model, validation)
        predictions.save(out)
        info["metrics"] = {
            "validation_accuracy": predictions.accuracies(),
            "validation_standard_error": predictions.standard_errors(),
        }
        calibration = pooled or predictions
    if calibration is not None:
        info["temperatures"] = calibration.temperatures()
        data["calibrated_on"] = [p.name for p in calibrate_from] or "own validation groups"
    if pooled is not None:
        # The accuracy of this recipe on groups held out of training, and not the accuracy of this network.
        info.setdefault("metrics", {}).update(
            cross_validation_accuracy=pooled.accuracies(), cross_validation_standard_error=pooled.standard_errors()
        )
    return save_checkpoint(trainer.ema_model, out, info)


def _describe_data(recipe: Recipe, source: LabelledDataset, training: Examples, validation: Examples | None) -> dict[str, Any]:
    """What the model was trained on, for its JSON."""
    data: dict[str, Any] = {
        "dataset": recipe.dataset,
        "provenance": source.PROVENANCE,
        "train_groups": list(recipe.train_groups),
        "validation_groups": list(recipe.validation_groups),
        "train_examples": len(training),
    }
    if isinstance(training, WindowExamples):
        splits = {"train": training, "validation": validation}
        data["recordings"] = {name: part.recordings() for name, part in splits.items() if isinstance(part, WindowExamples)}
    return data


def _check_folder(out: Path, resume: bool) -> None:
    """Make the folder; raises CheckpointError where it holds another run, unless that run is to be resumed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"training folder {out}", error.strerror or str(error), "a folder that can be written", "choose another --out"
        ) from error
    if not resume and (out / STATE_FILE).exists():
        raise CheckpointError(
            f"training folder {out}",
            "a run that is there already",
            "an empty folder",
            "continue it with --resume, or choose another --out",
        )


def fit(trainer: Trainer, out: Path, validation: Examples | None, console: Console) -> None:
    """Run the epochs that are left, and after each write state.safetensors and a line of metrics."""
    recipe, first = trainer.recipe, trainer.distributed.first
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    metrics = Metrics(out, trainer.epoch) if first else None
    with Progress(*columns, console=console) as progress:
        total = recipe.epochs * trainer.steps_per_epoch
        bar = progress.add_task("", total=total, completed=trainer.epoch * trainer.steps_per_epoch, epoch="-", note="")
        while trainer.epoch < recipe.epochs:
            began = time.monotonic()
            losses: list[StepLosses] = []
            for step in trainer.run_epoch():
                losses.append(step)
                progress.update(
                    bar,
                    advance=1,
                    epoch=f"{trainer.epoch + 1}/{recipe.epochs}",
                    note=f"loss {step.full:.3f} pruned {step.pruned:.3f}",
                )
            if metrics is None:
                continue
            line = dict(zip(LOSSES, np.ma.masked_invalid(losses).mean(0).filled(np.nan).round(5).tolist()))
            line |= {"learning_rate": trainer.optimiser.param_groups[0]["lr"], "seconds": round(time.monotonic() - began, 2)}
            if validation is not None and (trainer.epoch % recipe.validate_every == 0 or trainer.epoch == recipe.epochs):
                line |= watch(trainer, validation)
                console.print(
                    f"epoch {trainer.epoch}: loss {line['full']:.3f} validation accuracy {line['accuracy_0.0']:.3f}, "
                    f"half pruned {line['accuracy_0.5']:.3f}, mean over masks {line['accuracy_masks']:.3f}"
                )
            metrics.write(trainer.epoch, line)
            save_state(trainer, out)
    if metrics is not None:
        metrics.close()


def watch(trainer: Trainer, validation: Examples) -> dict[str, float]:
    """Accuracies (metrics.VALIDATION) on at most WATCHED validation examples, evenly spread."""
    index = np.unique(np.linspace(0, len(validation) - 1, min(WATCHED, len(validation))).astype(int))
    masks, labels = all_masks(len(trainer.model.lengths)), validation.labels[index]
    logits = predict_logits(trainer.ema_model, validation, masks, (0.0, 0.5), index=index)
    whole = logits[mask_to_bits(masks[0])]
    return {
        "accuracy_0.0": round(accuracy(whole[0], labels), 4),
        "accuracy_0.5": round(accuracy(whole[1], labels), 4),
        "accuracy_masks": round(float(np.mean([accuracy(rows[0], labels) for rows in logits.values()])), 4),
    }
