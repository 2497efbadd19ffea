"""The progress bar of a long command, on the terminal's standard error or output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(doing: str, total: float, unit: str, console: Console | None = None) -> Iterator[Callable[[float], None]]:
    """Show a bar while the block runs; gives a function that takes how much is done."""
    columns = (
        TextColumn(doing),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:g} " + unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)

        def update(done: float) -> None:
            bar.update(task, completed=done)

        yield update
