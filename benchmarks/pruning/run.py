"""All nets in their order, in this process or in several, and the report after each that is finished."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from .archive import NO_CELLS, Cells
from .cells import read_cell, run_cell
from .nets import Net
from .summary import summarise


def finished(nets: Sequence[Net], cache: Path, archive: Cells = NO_CELLS) -> dict[Net, dict[str, Any]]:
    """The cells that the cache or the archive has."""
    found = {net: read_cell(net, cache, archive) for net in nets}
    return {net: cell for net, cell in found.items() if cell is not None}


def run(
    nets: Sequence[Net],
    cache: Path,
    jobs: int = 1,
    archive: Cells = NO_CELLS,
    said: Callable[[Net, dict[str, Any]], None] = lambda net, cell: None,
) -> Iterator[dict[Net, dict[str, Any]]]:
    """Run the nets that neither has a cell of; yields all cells so far, at the start and after each new one."""
    cells = finished(nets, cache, archive)
    yield cells
    for net, cell in _each([net for net in nets if net not in cells], cache, jobs):
        cells[net] = cell
        said(net, cell)
        yield cells


def _each(nets: Sequence[Net], cache: Path, jobs: int) -> Iterator[tuple[Net, dict[str, Any]]]:
    if jobs == 1:
        yield from ((net, run_cell(net, cache)) for net in nets)
        return
    # Fresh processes: a forked one must not inherit torch's threads or a CUDA context.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=end_with_parent) as pool:
        waiting = {pool.submit(run_cell, net, cache): net for net in nets}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def end_with_parent() -> None:
    """Have this process end when the one that started it does, however that was ended: else it goes on with its net, unseen."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)  # at any time: what is on disk is whole

    threading.Thread(target=wait, daemon=True).start()


def report(nets: Sequence[Net], cells: dict[Net, dict[str, Any]], command: str, machine: dict[str, Any]) -> dict[str, Any]:
    """Everything for the results file."""
    return {
        "command": command,
        "machine": machine,
        "asked": len(nets),
        "finished": len(cells),
        **summarise([cells[net] for net in nets if net in cells]),
    }
