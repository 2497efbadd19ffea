"""All runs in their order, in this process, in several or on a cluster, and the report after each one that is finished."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from sentryfuse_ros.executors import executor

from .run_result import RunResult
from .runs import Run
from .store import NO_ARCHIVE, Archive, read_result, run_or_read
from .summary import summarise

Results = dict[Run, RunResult]


def finished(runs: Sequence[Run], cache: Path, archive: Archive = NO_ARCHIVE) -> Results:
    """The results that the cache or the archive has."""
    found = {run: read_result(run, cache, archive) for run in runs}
    return {run: result for run, result in found.items() if result is not None}


def execute(
    runs: Sequence[Run],
    cache: Path,
    jobs: int = 1,
    archive: Archive = NO_ARCHIVE,
    on_result: Callable[[RunResult], None] = lambda result: None,
    scheduler: str = "",
) -> Iterator[Results]:
    """Do the runs that have no result yet; yields all results so far, at the start and after each new one.

    ``jobs``: runs at a time on this machine. ``scheduler``: HOST:PORT of a Dask cluster that does them instead, whose workers see
    the cache and the data sets under the same paths. Raises ParameterError if it does not answer.
    """
    results = finished(runs, cache, archive)
    yield results
    left = [run for run in runs if run not in results]
    for result in _on_cluster(left, cache, scheduler) if scheduler else _each(left, cache, jobs):
        results[result.run] = result
        on_result(result)
        yield results


def _each(runs: Sequence[Run], cache: Path, jobs: int) -> Iterator[RunResult]:
    if jobs == 1:
        yield from (run_or_read(run, cache) for run in runs)
        return
    # Fresh processes: a forked one must not inherit torch's threads or a CUDA context.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=end_with_parent) as pool:
        try:
            for done in as_completed([pool.submit(run_or_read, run, cache) for run in runs]):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _on_cluster(runs: Sequence[Run], cache: Path, scheduler: str) -> Iterator[RunResult]:
    with executor(scheduler=scheduler) as cluster:
        yield from cluster.run(partial(run_or_read, cache=cache.absolute()), runs)


def end_with_parent() -> None:
    """End this process when its parent ends, however that happens; otherwise it would continue with its run, unseen."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # this may happen at any time, since every file is replaced as a whole

    threading.Thread(target=wait, daemon=True).start()


def report(
    runs: Sequence[Run],
    results: Results,
    command: str,
    machine: Mapping[str, Any],
    figures: Callable[[Iterable[RunResult]], dict[str, Any]] = summarise,
) -> dict[str, Any]:
    """The content of the results file."""
    return {
        "command": command,
        "machine": machine,
        "asked": len(runs),
        "finished": len(results),
        **figures([results[run] for run in runs if run in results]),
    }
