"""What `sentryfuse train --cross-validate` prints: the accuracy of every fold, and mean and spread."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..training.cross_validation import CrossValidation
from ..training.recipe import Recipe


def print_folds(result: CrossValidation, recipe: Recipe) -> None:
    """One line for each set of live sensors, the one with all of them first."""
    names = [spec.name for spec in recipe.specs]
    table = Table(
        title="cross-validation: accuracy % on what was held out, nothing pruned",
        box=box.SIMPLE_HEAD,
        caption="spread: standard deviation over the folds",
    )
    table.add_column("live sensors")
    for heading in (*(f"fold {i}" for i in range(len(result.folds))), "mean", "spread"):
        table.add_column(heading, justify="right", no_wrap=True)
    for mask in result.mean:
        live = "+".join(name for name, bit in zip(names, mask) if bit == "1")
        values = [fold.accuracy.get(mask) for fold in result.folds]
        cells = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        table.add_row(escape(live), *cells, f"{100 * result.mean[mask]:.1f}", f"{100 * result.deviation[mask]:.1f}")
    Console().print(table)
