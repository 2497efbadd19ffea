"""One simulated recording with its cost, or a series of recordings with consecutive seeds in several processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..bags.drive_truth import TRUTH_FILE
from ..bags.run_description import RUN_FILE, RunDescription, read_run_description
from ..errors import BagError, DataError, ParameterError
from ..executors import executor
from .nuisances import Nuisances, choose_nuisances
from .run import add_truth, charge_at_start, simulate
from .worlds import SEEDS_PER_SPLIT, generator, world_number


@dataclass(frozen=True)
class SimulationTask:
    """What to simulate; see `run.simulate`. ``out`` is the bag to write, or the folder of a series."""

    seed: int
    duration_s: float
    out: Path
    split: str = "train"
    nuisances: tuple[str, ...] = ()
    battery_wh: float = 20.0
    battery_start: float | None = None

    def of_series(self, seed: int) -> SimulationTask:
        """The task of one bag of a series."""
        return replace(self, seed=seed, out=self.out / f"{self.split}_{seed:06d}")

    def run(self, progress: Callable[[float], None] | None = None) -> RunDescription:
        return simulate(
            self.seed,
            self.duration_s,
            self.out,
            self.split,
            self.nuisances,
            self.battery_wh,
            self.battery_start,
            progress,
        )


class TimeTaken(NamedTuple):
    """Seconds on the clock and of CPU."""

    wall_s: float
    cpu_s: float


class SeriesResult(NamedTuple):
    """bags: how many there are now; made: how many of them were made by this call; completed: how many got their truth by it."""

    bags: int
    made: int
    wall_s: float
    completed: int = 0


def simulate_one(task: SimulationTask, progress: Callable[[float], None]) -> tuple[RunDescription, TimeTaken]:
    """Simulate one recording; ``progress`` is called with the simulated seconds done. Raises as `run.simulate` does."""
    began_s, cpu_began_s = time.monotonic(), time.process_time()
    description = task.run(progress)
    return description, TimeTaken(time.monotonic() - began_s, time.process_time() - cpu_began_s)


def simulate_series(
    task: SimulationTask, count: int, jobs: int, progress: Callable[[float], None], scheduler: str = ""
) -> SeriesResult:
    """Simulate ``count`` recordings with the seeds from the task's on; ``progress`` is called with the bags done.

    ``jobs`` and ``scheduler`` are those of `executors.executor`.
    Complete bags that exist already are kept, so that an interrupted series can be continued by the same call; those without
    truth.csv, which earlier versions recorded, get it. Raises ParameterError if a seed is out of range, BagError if a bag exists
    that is of another duration, was disturbed otherwise or has another battery.
    """
    if count < 1:
        raise ParameterError("--count", count, "1 or more")
    seeds = range(task.seed, task.seed + count)
    if seeds[0] < 0 or seeds[-1] >= SEEDS_PER_SPLIT:
        raise ParameterError(
            "--seed and --count",
            f"seeds {seeds[0]} to {seeds[-1]}",
            f"seeds in 0 to {SEEDS_PER_SPLIT - 1}",
            "choose a lower --seed or --count",
        )
    began_s = time.monotonic()
    whole = replace(task, out=task.out.absolute())  # the workers of a cluster run in folders of their own
    tasks = list(map(whole.of_series, seeds))
    made = {one.seed for one in tasks if is_made(one)}
    todo = [one for one in tasks if one.seed not in made]
    older = [one.out for one in tasks if one.seed in made and not (one.out / TRUTH_FILE).exists()]
    progress(count - len(todo))
    with executor(jobs, scheduler) as workers:
        for done, _ in enumerate(workers.run(make, todo), count - len(todo) + 1):
            progress(done)
        completed = sum(workers.run(add_truth, older))
    return SeriesResult(count, len(todo), time.monotonic() - began_s, completed)


def make(task: SimulationTask) -> None:
    """Simulate one bag of a series. A worker of a cluster may have died after it had made the bag, so it may be there."""
    if not is_made(task):
        task.run()


def is_made(task: SimulationTask) -> bool:
    """Whether a bag of a series exists already.

    Raises BagError if it is of another duration, was disturbed otherwise, has another battery, or has no readable run.json.
    """
    try:
        description = read_run_description(task.out)
        if description is None:
            return False
        if description.duration_s is None:
            raise DataError(f"{RUN_FILE} duration_s", "nothing", "a number of seconds")
    except DataError as error:
        raise BagError(
            f"recording {task.out}",
            f"an unreadable {RUN_FILE} ({error})",
            "one that `sentryfuse simulate` wrote",
            "remove the folder, or choose another --out",
        ) from error
    if description.duration_s != task.duration_s:
        raise BagError(
            f"recording {task.out}",
            f"one of {description.duration_s} s there already",
            f"one of {task.duration_s:g} s",
            "give the same --duration, choose another --out, or remove it",
        )
    number = world_number(task.split, task.seed)
    wanted = choose_nuisances(task.nuisances, generator(number, "nuisances")).as_dict()
    # An earlier version did not know every nuisance, and what it did not know was not there.
    recorded = {**Nuisances().as_dict(), **description.nuisances} if description.nuisances else {}
    _check_same(task, recorded, wanted, "--nuisance")
    # Earlier versions did not write down the battery.
    battery = {"capacity in Wh": description.battery_wh, "charge at the start": description.battery_start}
    known = {name: value for name, value in battery.items() if value is not None}
    charge = charge_at_start(number, task.battery_start)
    _check_same(
        task, known, {"capacity in Wh": task.battery_wh, "charge at the start": charge}, "--battery-wh and --battery-start"
    )
    return True


def _check_same(task: SimulationTask, recorded: Mapping[str, float], wanted: Mapping[str, float], options: str) -> None:
    """Raises BagError if a bag that is there was recorded with other values than those that are wanted."""
    others = [name for name, value in recorded.items() if value != wanted.get(name)]
    if others:
        raise BagError(
            f"recording {task.out}",
            "one there already with " + ", ".join(f"{name} {recorded[name]:g}" for name in others),
            ", ".join(f"{name} {wanted.get(name, 0.0):g}" for name in others),
            f"give the same {options}, choose another --out, or remove it",
        )
