"""A whole training run: epochs with progress, metrics and saved state, then the calibrated model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..datasets import dataset, split_groups
from ..errors import CheckpointError, DataError
from ..masks import all_masks, mask_to_bits
from ..model.checkpoint import load_checkpoint, save_checkpoint
from .calibration import fit_temperatures
from .distributed import Ranks
from .evaluation import accuracy, predict_logits
from .examples import Examples, WindowExamples, examples_of
from .metrics import LOSSES, Metrics
from .recipe import Recipe
from .state import STATE_FILE, load_state, save_state
from .trainer import Trainer

PREDICTIONS_FILE = "validation_predictions.npz"
WATCHED = 1024  # validation examples looked at while training; all of them at its end
UNEVEN = 5.0  # from this ratio of the largest to the smallest class on it is said


def train(
    recipe: Recipe,
    out: Path,
    resume: bool = False,
    calibrate_from: Sequence[Path] = (),
    command: str = "",
    console: Console | None = None,
) -> Path:
    """Train by a recipe into ``out``: state, metrics.csv, validation predictions, model.safetensors + model.json.

    Temperatures are fitted on the run's own validation groups, or on the pooled validation predictions of the
    runs in ``calibrate_from`` where it has none (all subjects trained on). Returns the model's folder.
    """
    ranks = Ranks()
    console = (console or Console()) if ranks.first else Console(quiet=True)
    _check_folder(out, resume)
    source = dataset(recipe.dataset)
    held = _read_predictions(calibrate_from) if calibrate_from else None  # a wrong folder fails now, not in an hour
    dense_teachers = [load_checkpoint(Path(folder))[0] for folder in recipe.dense_teachers]
    training = load_examples(source, recipe, recipe.train_groups)
    validation = load_examples(source, recipe, recipe.validation_groups) if recipe.validation_groups else None
    for remark in check_classes(source.CLASSES, training, validation, recipe):
        console.print(remark, style="yellow", markup=False)
    check_modalities(training, recipe)
    trainer = Trainer(recipe, training, source.CLASSES, ranks, dense_teachers)
    if resume:
        load_state(trainer, out)
    params = sum(p.numel() for p in trainer.model.parameters())
    console.print(
        f"{len(training)} examples, {0 if validation is None else len(validation)} held out, "
        f"{params / 1e6:.2f} M parameters, {trainer.steps_per_epoch} steps an epoch, on {trainer.device}"
        + (f", {ranks.count} ranks" if ranks.count > 1 else "")
    )
    fit(trainer, out, validation, console)
    ranks.wait()
    ranks.close()
    if not ranks.first:
        return out

    info: dict[str, Any] = {
        "command": command,
        "recipe": recipe.to_dict(),
        "data": {
            "dataset": recipe.dataset,
            "provenance": source.PROVENANCE,
            "train_groups": list(recipe.train_groups),
            "validation_groups": list(recipe.validation_groups),
            "train_examples": len(training),
        },
    }
    if isinstance(training, WindowExamples):
        info["data"]["recordings"] = {
            name: _recordings(part) for name, part in (("train", training), ("validation", validation)) if part is not None
        }
    if validation is not None:
        predictions = _validate(trainer, validation)
        np.savez_compressed(out / PREDICTIONS_FILE, **predictions)
        info["metrics"] = {"validation_accuracy": _accuracies(predictions)}
        held = held or predictions
    if held:
        info["temperatures"] = _temperatures(held)
        if calibrate_from:
            # Not this network's accuracy, but that of its recipe on subjects held out of training.
            info.setdefault("metrics", {})["cross_validation_accuracy"] = _accuracies(held)
        info["data"]["calibrated_on"] = [p.name for p in calibrate_from] or "own validation groups"
    return save_checkpoint(trainer.average, out, info)


def _check_folder(out: Path, resume: bool) -> None:
    """Make the folder; raises CheckpointError where a run lies there that is not to be gone on with."""
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
            "go on with it by --resume, or choose another --out",
        )


def _recordings(examples: WindowExamples) -> list[str]:
    """Names of the recordings that have a window among the examples."""
    return [examples.windows.recordings[i] for i in np.unique(examples.windows.recording)]


def load_examples(source: Any, recipe: Recipe, groups: Sequence) -> Examples:
    """Examples of some groups of a data set; raises DataError where a group has none."""
    loaded = source.load(recipe.specs, groups)
    return examples_of(split_groups(loaded, groups) if isinstance(loaded, list) else loaded, recipe.augment)


def check_classes(classes: Sequence[str], training: Examples, validation: Examples | None, recipe: Recipe) -> list[str]:
    """Remarks on classes that are rare or not validated; raises DataError on one that has nothing to learn from."""
    counts = np.bincount(training.labels, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts) if not count]
    if absent:
        raise DataError(
            "training examples",
            "none of class " + ", ".join(absent),
            "some of every class",
            "record it, move a recording with it to the training groups, or leave the label out of the data set",
        )
    remarks = []
    if counts.max() > UNEVEN * counts.min():
        rare, often = classes[counts.argmin()], classes[counts.argmax()]
        remarks.append(
            f"uneven classes: {counts.min()} examples of {rare}, {counts.max()} of {often}; "
            + (
                f"the loss is balanced by count ** -{recipe.balance:g}"
                if recipe.balance
                else "to weigh rare ones more, set balance (0.5 to 1) in the training YAML"
            )
        )
    if validation is not None:
        unseen = [name for i, name in enumerate(classes) if not (validation.labels == i).any()]
        if unseen:
            remarks.append(
                "not in the validation groups: " + ", ".join(unseen) + "; accuracy and temperatures say nothing of them"
            )
    return remarks


def check_modalities(training: Examples, recipe: Recipe) -> None:
    """Raises DataError on a modality that no training example has."""
    present = training.windows.live if isinstance(training, WindowExamples) else {}
    absent = [spec.name for spec in recipe.specs if spec.name in present and not present[spec.name].any()]
    if absent:
        raise DataError(
            "training examples",
            "no data at all of " + ", ".join(absent),
            "some of every modality",
            "drop it from the modalities of the training YAML, or correct its topic and make the data set again",
        )


def fit(trainer: Trainer, out: Path, validation: Examples | None, console: Console) -> None:
    """Run the epochs that are left; after each, write state.safetensors and a line of metrics."""
    recipe, first = trainer.recipe, trainer.ranks.first
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
            began, losses = time.monotonic(), []
            for step in trainer.run_epoch():
                losses.append([step[name] for name in LOSSES])
                progress.update(
                    bar,
                    advance=1,
                    epoch=f"{trainer.epoch + 1}/{recipe.epochs}",
                    note=f"loss {step['full']:.3f} pruned {step['pruned']:.3f}",
                )
            if not first:
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
    """Accuracies on at most WATCHED validation examples, evenly spread."""
    index = np.unique(np.linspace(0, len(validation) - 1, min(WATCHED, len(validation))).astype(int))
    masks, labels = all_masks(len(trainer.model.lengths)), validation.labels[index]
    logits = predict_logits(trainer.average, validation, masks, (0.0, 0.5), index=index)
    whole = logits[mask_to_bits(masks[0])]
    return {
        "accuracy_0.0": round(accuracy(whole[0], labels), 4),
        "accuracy_0.5": round(accuracy(whole[1], labels), 4),
        "accuracy_masks": round(float(np.mean([accuracy(rows[0], labels) for rows in logits.values()])), 4),
    }


def _validate(trainer: Trainer, validation: Examples) -> dict[str, np.ndarray]:
    levels = trainer.model.config.ratio_levels
    logits = predict_logits(trainer.average, validation, all_masks(len(trainer.model.lengths)), levels)
    out = {"labels": validation.labels, **{mask: np.stack(rows) for mask, rows in logits.items()}}
    if isinstance(validation, WindowExamples) and validation.windows.live:
        out["present"] = np.stack([validation.windows.live[n] for n in trainer.model.config.names], 1)
    return out


def _seen(predictions: dict[str, np.ndarray], mask: str) -> np.ndarray:
    """Places of the examples that have all sensors of a mask: the node would not use it on the others."""
    if "present" not in predictions:
        return np.arange(len(predictions["labels"]))
    return np.flatnonzero(predictions["present"][:, [bit == "1" for bit in mask]].all(1))


def _masks(predictions: dict[str, np.ndarray]) -> list[str]:
    return [name for name in predictions if name not in ("labels", "present")]


def _accuracies(predictions: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
    out = {}
    for mask in _masks(predictions):
        seen = _seen(predictions, mask)
        out[mask] = [round(accuracy(z[seen], predictions["labels"][seen]), 4) if len(seen) else None for z in predictions[mask]]
    return out


def _temperatures(predictions: dict[str, np.ndarray]) -> dict[str, list[float]]:
    out = {}
    for mask in _masks(predictions):
        seen = _seen(predictions, mask)
        rows = [z[seen] for z in predictions[mask]]
        out |= fit_temperatures({mask: rows}, predictions["labels"][seen]) if len(seen) else {mask: [1.0] * len(rows)}
    return out


def _read_predictions(folders: Sequence[Path]) -> dict[str, np.ndarray]:
    """Pool the validation predictions of several runs (as the folds of a cross-validation)."""
    pooled: list[dict[str, np.ndarray]] = []
    for folder in folders:
        try:
            with np.load(folder / PREDICTIONS_FILE, allow_pickle=False) as file:
                pooled.append({name: file[name] for name in file})
        except (OSError, ValueError) as error:
            raise DataError(
                f"validation predictions {folder / PREDICTIONS_FILE}",
                str(error),
                "a run trained with validation_groups",
                "correct --calibrate-from",
            ) from error
    if len({tuple((n, p[n].shape[0], p[n].shape[-1]) for n in sorted(_masks(p))) + ("present" in p,) for p in pooled}) != 1:
        raise DataError(
            "validation predictions",
            "runs of different masks, levels or classes",
            "runs of one recipe",
            "correct --calibrate-from",
        )
    return {n: np.concatenate([p[n] for p in pooled], axis=0 if n in ("labels", "present") else 1) for n in pooled[0]}
