"""Many independent tasks at once: in processes of this machine, or on the workers of a Dask cluster.

Both run a function of one argument on every task and give the results in the order of the tasks, so the caller need not know
which it is. Function, tasks and results must be picklable. On a cluster every worker must have this package and see the same
files under the same paths; a task whose worker dies is given to another worker.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children
from typing import Any, Protocol, TypeVar

from .child_process import end_with_parent
from .errors import ParameterError, SentryFuseError

CONNECT_S = 10  # a scheduler that does not answer for so long is not there
INTERRUPTED = 130  # exit status of a worker that was stopped
SUBMITTED_AHEAD = 4  # tasks per worker that a scheduler holds, so that it need not keep a million of them

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs tasks."""

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """The results in the order of the tasks, each as soon as it and those before it are there. Raises what a task raises."""
        ...


@contextmanager
def executor(jobs: int = 1, scheduler: str = "") -> Iterator[Executor]:
    """``jobs`` processes of this machine (1: this process), or the cluster of the Dask scheduler at ``scheduler`` (HOST:PORT).

    Raises ParameterError if there is no such scheduler or jobs is below 1, and SentryFuseError if `distributed` is not installed.
    """
    if jobs < 1:
        raise ParameterError("--jobs", jobs, "1 or more")
    if scheduler:
        with _cluster(scheduler) as cluster:
            yield cluster
    elif jobs > 1:
        with _processes(jobs) as processes:
            yield processes
    else:
        yield _Here()


class _Here:
    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        return map(function, tasks)


class _Processes:
    def __init__(self, pool: ProcessPoolExecutor):
        self._pool = pool

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        return self._pool.map(partial(_work, function), tasks)


@contextmanager
def _processes(jobs: int) -> Iterator[_Processes]:
    """Processes that are stopped by an interrupt of this one, in the middle of their tasks, which may still clean up."""
    others = set(active_children())
    with ProcessPoolExecutor(jobs, initializer=_begin_worker) as pool:
        try:
            yield _Processes(pool)
        except KeyboardInterrupt:
            for worker in set(active_children()) - others:
                worker.terminate()
            raise


_working = False  # in a worker: whether it has a task


def _begin_worker() -> None:
    end_with_parent()  # one that was killed cannot stop its workers, which would wait for more tasks for ever
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; this one is stopped by its parent
    signal.signal(signal.SIGTERM, _stop_worker)


def _stop_worker(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the pool repeats it for those that still clean up
    if not _working:
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


def _work(function: Callable[[Task], Result], task: Task) -> Result:
    """Run a task in a worker, which ends where the task is interrupted: the pool would give it another one."""
    global _working
    try:
        _working = True
        return function(task)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    finally:
        _working = False


class _Cluster:
    def __init__(self, client: Any):
        self._client = client

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        from distributed import KilledWorker

        waiting: list[Any] = []
        left = iter(tasks)
        more = True
        while more or waiting:
            while more and len(waiting) < max(1, SUBMITTED_AHEAD * len(self._client.scheduler_info(n_workers=-1)["workers"])):
                try:
                    # Not pure: a task writes files, so an equal one is run again and not looked up.
                    waiting.append(self._client.submit(function, next(left), pure=False))
                except StopIteration:
                    more = False
            if not waiting:
                return
            future = waiting.pop(0)
            try:
                yield future.result()
            except KilledWorker as error:
                raise SentryFuseError(
                    "a task on the cluster",
                    f"the end of every worker that had it ({error})",
                    "workers that live",
                    "look at the workers' logs: memory is the usual reason",
                ) from error


@contextmanager
def _cluster(scheduler: str) -> Iterator[_Cluster]:
    try:
        from distributed import Client
    except ImportError as error:
        raise SentryFuseError(
            "--scheduler",
            f"no package {error.name}",
            "distributed",
            "pip install distributed, here and on every worker",
        ) from error
    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ParameterError(
            "--scheduler", repr(scheduler), "HOST:PORT of a Dask scheduler that answers", "start one with: dask scheduler"
        ) from error
    try:
        yield _Cluster(client)
    finally:
        client.close()
