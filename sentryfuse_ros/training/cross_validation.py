"""Cross-validation: train several times, each time without another part of the persons, places or recordings, and judge on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from ..datasets import Group, LabelledDataset, dataset
from ..datasets.window_folder import WindowFolder
from ..errors import CheckpointError, ParameterError
from ..files import write_atomically
from .distributed import Distributed
from .recipe import Recipe
from .run import train
from .state import STATE_FILE, recipe_differences

MODEL_JSON = "model.json"
RESULT_FILE = "cross_validation.json"


@dataclass(frozen=True)
class Fold:
    """What was held out of one training, and the accuracy on it by mask, nothing pruned."""

    held_out: tuple[Group, ...]
    accuracy: dict[str, float | None]


@dataclass(frozen=True)
class CrossValidation:
    """The folds, and over them the mean and the standard deviation of the accuracy by mask, nothing pruned."""

    folds: tuple[Fold, ...]
    mean: dict[str, float]
    deviation: dict[str, float]


def cross_validate(
    recipe: Recipe, out: Path, count: int, *, resume: bool = False, command: str = "", console: Console | None = None
) -> CrossValidation:
    """Train ``count`` models into out/fold0 and so on, and write cross_validation.json beside them.

    The units that are held out together are the data set's persons, places or days if it knows them, otherwise its recordings, or
    the groups of the recipe for a public set. Only the training and validation groups of the recipe are used. With ``resume``, a
    fold whose model is finished is not trained again. Of several processes, all train every fold together, and the first writes;
    ``out`` must be one folder for all of them. Raises ParameterError if there are fewer units than folds, and
    CheckpointError where a finished fold is of another recipe or of another division.
    """
    distributed = Distributed()
    console = (console or Console()) if distributed.first else Console(quiet=True)
    groups_of = units_of(dataset(recipe.dataset), recipe)
    parts = divided(list(groups_of), count, recipe.seed)
    folds = []
    for place, held in enumerate(parts):
        folder = out / f"fold{place}"
        names = ", ".join(map(str, held[:5])) + (f" and {len(held) - 5} more" if len(held) > 5 else "")
        console.print(f"fold {place + 1} of {count}: held out {names}", markup=False)
        own = replace(
            recipe,
            train_groups=tuple(group for i, part in enumerate(parts) if i != place for unit in part for group in groups_of[unit]),
            validation_groups=tuple(group for unit in held for group in groups_of[unit]),
        )
        if resume and (folder / MODEL_JSON).exists():
            _check_finished(folder / MODEL_JSON, own)
        else:
            again = resume and (folder / STATE_FILE).exists()
            train(own, folder, resume=again, command=command, console=console, distributed=distributed)
            distributed.wait()  # for the model, which the first process writes
        metrics = json.loads((folder / MODEL_JSON).read_text(encoding="utf-8"))["metrics"]["validation_accuracy"]
        folds.append(Fold(held, {mask: levels[0] for mask, levels in metrics.items()}))
    distributed.close()
    result = summed_up(folds)
    if distributed.first:
        write_atomically(out / RESULT_FILE, json.dumps(asdict(result), indent=1) + "\n")
    return result


def _check_finished(path: Path, recipe: Recipe) -> None:
    """Raises CheckpointError where the model of a fold was trained by another recipe, or without other groups."""
    trained_by = json.loads(path.read_text(encoding="utf-8")).get("recipe", {})
    if changed := recipe_differences(trained_by, recipe):
        raise CheckpointError(
            f"finished fold {path.parent}",
            f"a training by another recipe (differs in {', '.join(changed)})",
            "the recipe, the seed and the number of folds that the run was started with",
            "start again without --resume, in another --out",
        )


def summed_up(folds: Sequence[Fold]) -> CrossValidation:
    """Mean and standard deviation (of a sample) over the folds; a mask that a fold could not judge counts in the others only."""
    mean, deviation = {}, {}
    for mask in folds[0].accuracy:
        values = [value for fold in folds if (value := fold.accuracy.get(mask)) is not None]
        if values:
            mean[mask] = round(float(np.mean(values)), 4)
            deviation[mask] = round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else 0.0
    return CrossValidation(tuple(folds), mean, deviation)


def units_of(source: LabelledDataset, recipe: Recipe) -> dict[Group, tuple[Group, ...]]:
    """What is held out as a whole, from the training and validation groups of a recipe: {unit: the groups that it consists of}.

    A unit is a group itself. Only where its name would also bring in recordings of other groups, as of a person who is in the
    test split too, are its recordings named one by one.
    """
    groups = recipe.train_groups + recipe.validation_groups
    if not isinstance(source, WindowFolder):  # the groups of a public set are persons or folds themselves
        return {group: (group,) for group in groups}
    loaded = source.load(recipe.specs, groups)
    own = {loaded.recordings[i] for i in np.unique(loaded.recording)}
    units: dict[Group, list[str]] = {}
    for bag in source.description.bags:
        if bag.name in own:
            units.setdefault(bag.origin or bag.name, []).append(bag.name)
    named = {unit: {bag.name for bag in source.description.bags if unit in (bag.name, bag.origin, bag.split)} for unit in units}
    return {unit: (unit,) if named[unit] == set(names) else tuple(names) for unit, names in units.items()}


def held_out(recipe: Recipe, names: Sequence[str]) -> dict[str, tuple[Group, ...]]:
    """The groups to change in a recipe so that it trains without those that are named, and validates on them.

    They are groups of the recipe, or persons, places or recordings in them. Raises ParameterError for others.
    """
    groups = recipe.train_groups + recipe.validation_groups
    known = {str(group): group for group in groups}
    named = [name for name in names if name in known]
    if len(named) == len(names):
        training = tuple(group for group in groups if str(group) not in names)
        return {"train_groups": training, "validation_groups": tuple(known[name] for name in names)}
    units = units_of(dataset(recipe.dataset), recipe)
    unknown = [name for name in names if name not in set(map(str, units))]
    if unknown:
        raise ParameterError("--validate-on", " ".join(unknown), "among " + " ".join(map(str, units)))
    return {
        "train_groups": tuple(group for unit in units if str(unit) not in names for group in units[unit]),
        "validation_groups": tuple(group for unit in units if str(unit) in names for group in units[unit]),
    }


def divided(units: Sequence[Group], count: int, seed: int) -> list[tuple[Group, ...]]:
    """The units in ``count`` parts of nearly equal size, drawn by the seed."""
    if len(units) < 2:
        raise ParameterError(
            "--cross-validate",
            f"{len(units)} person, place, recording or group to divide",
            "at least two",
            "record more, or name more train_groups in the training YAML",
        )
    if not 2 <= count <= len(units):
        raise ParameterError(
            "--cross-validate", count, f"2 to {len(units)}, the number of persons, places, recordings or groups to divide"
        )
    order = np.random.default_rng(seed).permutation(len(units))
    return [tuple(units[i] for i in sorted(order[place::count].tolist())) for place in range(count)]
