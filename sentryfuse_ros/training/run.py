"""A whole training run: epochs with progress, metrics and saved state, then the calibrated model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..datasets import LabelledDataset, dataset
from ..errors import CheckpointError, ParameterError, reason_of
from ..masks import all_masks, mask_to_bits
from ..model.checkpoint import checkpoint_paths
from ..model.fuse import SentryFuse
from ..model.saved import load_checkpoint, save_checkpoint
from .checks import check_classes, check_modalities, check_origins, check_start
from .distributed import Distributed
from .elastic_trainer import ElasticTrainer
from .examples import Examples, WindowExamples, load_examples
from .logits import accuracy, predict_logits
from .metrics import LOSSES, Metrics, StepLosses
from .older_pictures import HOLD_S
from .recipe import Recipe
from .state import STATE_FILE, load_state, save_state
from .trainer import Trainer
from .validation_predictions import PREDICTIONS_FILE, SUBNETWORKS_FILE, ValidationPredictions

WHOLE_FOLDER, ELASTIC_FOLDER = "whole", "elastic"
WATCHED = 1024  # at most so many validation examples are predicted during the training; all of them at its end
FIRST_LOOK_S, FIRST_LOOK = 20.0, 256  # a first accuracy is shown so soon after the start, on at most so many examples


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    calibrate_from: Sequence[Path] = (),
    start_from: Path | None = None,
    command: str = "",
    console: Console | None = None,
    distributed: Distributed | None = None,
) -> Path:
    """Train by a recipe into ``out``: state, metrics.csv, validation predictions, model.safetensors and model.json.

    Where the recipe has an elastic stage, the network of the first stage is kept in ``out/whole``, and the state and metrics of
    the second in ``out/elastic``. ``start_from``: a trained model to take in place of the first stage.
    Temperatures are fitted on the run's own validation groups, or on the pooled validation predictions of the runs in
    ``calibrate_from`` where it has none because all groups are trained on. ``distributed``: the processes that train together,
    where the caller needs them afterwards; all but the first return before the model is written. Returns the folder of the model.
    """
    alone, distributed = distributed is None, distributed or Distributed()
    console = (console or Console()) if distributed.first else Console(quiet=True)
    if start_from is not None and not recipe.elastic.epochs:
        expected, remedy = "1 or more with --start-from", "set elastic epochs in the training YAML, or drop --start-from"
        raise ParameterError("training recipe elastic epochs", 0, expected, remedy)
    _check_folder(out if start_from is None else out / ELASTIC_FOLDER, resume)
    source = dataset(recipe.dataset)
    # Read first, so that a wrong folder is found now and not after an hour of training.
    pooled = [ValidationPredictions.pool(calibrate_from, name) for name in _files(recipe)] if calibrate_from else []
    whole, known = (None, {}) if start_from is None else load_checkpoint(start_from)
    training = load_examples(source, recipe, recipe.train_groups)
    validation = load_examples(source, recipe, recipe.validation_groups) if recipe.validation_groups else None
    for remark in check_classes(source.CLASSES, training, validation, recipe):
        console.print(remark, style="yellow", markup=False)
    check_modalities(training, recipe)
    for remark in (*check_origins(training, validation), *check_start(known, recipe, validation)):
        console.print(remark, style="yellow", markup=False)
    console.print(f"{len(training)} examples, {0 if validation is None else len(validation)} held out")
    with _room_to_write(out):
        network = _trained(recipe, source, training, validation, out, resume, whole, distributed, command, console)
        distributed.wait()
        if alone:
            distributed.close()
        if not distributed.first:
            return out
        data = _describe_data(recipe, source, training, validation)
        info: dict[str, Any] = {"command": command, "recipe": recipe.to_dict(), "data": data}
        if validation is not None or pooled:
            data["calibrated_on"] = [p.name for p in calibrate_from] or "own validation groups"
        info |= _measure(recipe, network, validation, pooled, out)
        return save_checkpoint(network, out, info)


@contextmanager
def _room_to_write(out: Path) -> Iterator[None]:
    """Make a CheckpointError of what goes wrong while files are written: a full disk, or one that is no longer there."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"training folder {out}",
            reason_of(error),
            "room to write",
            "free some space, then continue with --resume; the epochs that were finished are kept",
        ) from error


def _trained(
    recipe: Recipe,
    source: LabelledDataset,
    training: Examples,
    validation: Examples | None,
    out: Path,
    resume: bool,
    whole: SentryFuse | None,
    distributed: Distributed,
    command: str,
    console: Console,
) -> SentryFuse:
    """The network after both stages, or after the second one if ``whole``, the network of the first, is given."""
    folder = out / ELASTIC_FOLDER
    if whole is None:
        trainer = Trainer(recipe, training, source.CLASSES, distributed)
        if resume:
            for remark in load_state(trainer, out):
                console.print(remark, markup=False)
            if trainer.epoch < recipe.epochs and distributed.first:
                # Whatever the second stage learned, it learned from a network that will now change.
                (folder / STATE_FILE).unlink(missing_ok=True)
        fit(trainer, out, validation, console)
        whole = trainer.ema_model
    if not recipe.elastic.epochs:
        return whole
    if distributed.first:
        save_checkpoint(whole, out / WHOLE_FOLDER, {"command": command, "recipe": recipe.to_dict()})
    trainer = ElasticTrainer(recipe, training, source.CLASSES, whole, distributed)
    folder.mkdir(exist_ok=True, parents=True)
    if resume and (folder / STATE_FILE).exists():
        for remark in load_state(trainer, folder):
            console.print(remark, markup=False)
    fit(trainer, folder, validation, console)
    return trainer.shipped_network()


def _measure(
    recipe: Recipe,
    network: SentryFuse,
    validation: Examples | None,
    pooled: Sequence[ValidationPredictions],
    out: Path,
) -> dict[str, Any]:
    """Metrics and temperatures for the model's JSON, from the validation groups or from those of other runs (``pooled``)."""
    metrics: dict[str, Any] = {}
    info: dict[str, Any] = {"metrics": metrics}
    for place, file in enumerate(_files(recipe)):
        predict, metric, temperatures = _MEASURED[file]
        if validation is not None:
            predictions = predict(network, validation)
            predictions.save(out, file)
            metrics |= {
                f"validation{metric}_accuracy": predictions.accuracies(),
                f"validation{metric}_standard_error": predictions.standard_errors(),
            }
            info[temperatures] = (pooled[place] if pooled else predictions).temperatures()
        if pooled:
            # The accuracy of this recipe on groups held out of training, and not the accuracy of this network.
            metrics |= {
                f"cross_validation{metric}_accuracy": pooled[place].accuracies(),
                f"cross_validation{metric}_standard_error": pooled[place].standard_errors(),
            }
            info[temperatures] = pooled[place].temperatures()
    held = ValidationPredictions.predict_held(network, validation) if validation is not None and recipe.elastic.epochs else None
    if held is not None:
        metrics |= {
            "validation_plan_held_accuracy": held.accuracies(),
            "validation_plan_held_standard_error": held.standard_errors(),
            "hold_s": HOLD_S,
        }
    return info


# What is measured on the validation groups, by the file that keeps the predictions: how they are made, and what the accuracies
# and the temperatures are called in the model's JSON.
_MEASURED = {
    PREDICTIONS_FILE: (ValidationPredictions.predict, "", "temperatures"),
    SUBNETWORKS_FILE: (ValidationPredictions.predict_subnetworks, "_plan", "plan_temperatures"),
}


def _files(recipe: Recipe) -> list[str]:
    """The files of `_MEASURED` that a run writes: a network that is not elastic has no subnetworks beyond its ratio levels."""
    return list(_MEASURED) if recipe.elastic.epochs else [PREDICTIONS_FILE]


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
        data["origins"] = {
            name: sorted(part.windows.origins()) for name, part in splits.items() if isinstance(part, WindowExamples)
        }
        data["recordings"] = {name: part.recordings() for name, part in splits.items() if isinstance(part, WindowExamples)}
    return data


def _check_folder(out: Path, resume: bool) -> None:
    """Make the folder; raises CheckpointError where it holds another run, unless that run is to be resumed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"training folder {out}", reason_of(error), "a folder that can be written", "choose another --out"
        ) from error
    if not resume and (out / STATE_FILE).exists():
        raise CheckpointError(
            f"training folder {out}",
            "a run that is there already",
            "an empty folder",
            "continue it with --resume, or choose another --out",
        )
    if not resume and checkpoint_paths(out)[0].exists():
        raise CheckpointError(
            f"training folder {out}", "a model that is there already", "an empty folder", "choose another --out"
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
    params = sum(p.numel() for p in trainer.model.parameters())
    console.print(
        f"{trainer.NAME}: {params / 1e6:.2f} M parameters, {trainer.steps_per_epoch} steps an epoch, on {trainer.device}"
        + (f", {trainer.distributed.count} ranks" if trainer.distributed.count > 1 else "")
    )
    metrics = Metrics(out, trainer.epoch) if first else None
    started, seen = time.monotonic(), metrics is None or validation is None
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
                if not seen and validation is not None and time.monotonic() - started > FIRST_LOOK_S:
                    seen = True
                    console.print(f"epoch {trainer.epoch + 1}, step {len(losses)}: {first_look(trainer, validation)}")
            if metrics is None:
                continue
            line = dict(zip(LOSSES, np.ma.masked_invalid(losses).mean(0).filled(np.nan).round(5).tolist()))
            line |= {"learning_rate": trainer.optimiser.param_groups[0]["lr"], "seconds": round(time.monotonic() - began, 2)}
            if validation is not None and (trainer.epoch % recipe.validate_every == 0 or trainer.epoch == recipe.epochs):
                line |= watch(trainer, validation)
                seen = True
                console.print(
                    f"epoch {trainer.epoch}: loss {line['full']:.3f}; "
                    f"validation accuracy with all sensors {line['accuracy_0.0']:.3f}, half pruned {line['accuracy_0.5']:.3f}; "
                    f"mean over all sets of sensors {line['accuracy_masks']:.3f}"
                )
            metrics.write(trainer.epoch, line)
            save_state(trainer, out)
    if metrics is not None:
        metrics.close()


def first_look(trainer: Trainer, validation: Examples) -> str:
    """The accuracy with all sensors on a few validation examples, in words: whether the training learns anything at all."""
    index = _spread(len(validation), FIRST_LOOK)
    everything = all_masks(len(trainer.model.lengths))[:1]
    (logits,) = predict_logits(trainer.ema_model, validation, everything, (0.0,), index=index).values()
    right, labels = accuracy(logits[0], validation.labels[index]), validation.labels[index]
    most = np.bincount(labels).max() / len(labels)
    return f"validation accuracy with all sensors {right:.3f} on {len(index)} windows (the commonest class: {most:.3f})"


def _spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` of ``count`` places, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))


def watch(trainer: Trainer, validation: Examples) -> dict[str, float]:
    """Accuracies (metrics.VALIDATION) on at most WATCHED validation examples, evenly spread."""
    index = _spread(len(validation), WATCHED)
    masks, labels = all_masks(len(trainer.model.lengths)), validation.labels[index]
    logits = predict_logits(trainer.ema_model, validation, masks, (0.0, 0.5), index=index)
    whole = logits[mask_to_bits(masks[0])]
    return {
        "accuracy_0.0": round(accuracy(whole[0], labels), 4),
        "accuracy_0.5": round(accuracy(whole[1], labels), 4),
        "accuracy_masks": round(float(np.mean([accuracy(rows[0], labels) for rows in logits.values()])), 4),
    }
