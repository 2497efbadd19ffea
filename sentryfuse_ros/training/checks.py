"""Checks of the examples before a training: classes and modalities that there is nothing to learn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from .examples import Examples, WindowExamples
from .recipe import Recipe

UNEVEN = 5.0  # classes are called uneven where the largest has more than so many times the examples of the smallest


def check_classes(classes: Sequence[str], training: Examples, validation: Examples | None, recipe: Recipe) -> list[str]:
    """Remarks on classes that are rare or not validated.

    Raises DataError on a class without a training example, on a single class, and on other classes than the recipe lists.
    """
    if recipe.classes and recipe.classes != tuple(classes):
        raise DataError(
            "data set classes",
            ", ".join(classes),
            f"{', '.join(recipe.classes)}, as the recipe lists them",
            "make the data set again with this recipe, or correct its classes",
        )
    if len(classes) < 2:
        raise DataError(
            "data set classes",
            ", ".join(classes) or "none",
            "at least two, because a model tells them apart",
            "record another one, or label what is not of this one, for instance as 'other'",
        )
    counts = np.bincount(training.labels, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts) if not count]
    if absent:
        raise DataError(
            "training examples",
            "none of class " + ", ".join(absent),
            "some of every class",
            "record it, move a recording with it to the training groups, or leave the label out of the data set"
            + ("" if recipe.border_windows else "; windows in which the label changes count only with border_windows: true"),
        )
    remarks = []
    if counts.max() > UNEVEN * counts.min():
        rare, often = classes[int(counts.argmin())], classes[int(counts.argmax())]
        remarks.append(
            f"uneven classes: {counts.min()} examples of {rare}, {counts.max()} of {often}; "
            + (
                f"the loss is balanced by count ** -{recipe.balance:g}"
                if recipe.balance
                else "set balance (0.5 to 1) in the training YAML to give rare classes more weight"
            )
        )
    if validation is not None:
        unseen = [name for i, name in enumerate(classes) if not (validation.labels == i).any()]
        if unseen:
            remarks.append(
                "not in the validation groups: " + ", ".join(unseen) + "; accuracies and temperatures say nothing about them"
            )
    return remarks


def check_origins(training: Examples, validation: Examples | None) -> list[str]:
    """A remark if a person, place or day is both trained and validated on."""
    if not isinstance(training, WindowExamples) or not isinstance(validation, WindowExamples):
        return []
    both = sorted(training.windows.origins() & validation.windows.origins())
    return [f"trained and validated on recordings of {', '.join(both)}: the validation will look too good"] if both else []


def check_start(start: Mapping[str, Any], recipe: Recipe, validation: Examples | None) -> list[str]:
    """A remark if the network that a training starts from has learned from what is validated on. ``start``: its JSON."""
    trained_by, data = start.get("recipe", {}), start.get("data", {})
    seen: set[str] = set()
    if trained_by.get("dataset") == recipe.dataset:
        seen |= set(map(str, trained_by.get("train_groups", ()))) & set(map(str, recipe.validation_groups))
    if isinstance(validation, WindowExamples):
        seen |= set(data.get("recordings", {}).get("train", ())) & set(validation.recordings())
        seen |= set(data.get("origins", {}).get("train", ())) & validation.windows.origins()
    if not seen:
        return []
    few = ", ".join(sorted(seen)[:5]) + (f" and {len(seen) - 5} more" if len(seen) > 5 else "")
    return [f"the network of --start-from was trained on {few}: the validation on it, and the temperatures, will look too good"]


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
