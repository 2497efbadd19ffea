"""The progress bar of a long command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import get_console
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(doing: str, total: float, unit: str, console: Console | None = None) -> Iterator[Callable[[float], None]]:
    """Show a bar while the block runs, on a terminal only; gives a function that takes how much is done."""
    columns = (
        TextColumn(doing),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:g} " + unit),
        TimeRemainingColumn(),
    )
    console = console or get_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def update(done: float) -> None:
            bar.update(task, completed=done)

        yield update
