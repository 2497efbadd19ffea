"""The result of a run: read where it is finished, else the network is trained and measured. One JSON per run in the cache."""

from __future__ import annotations

import csv
import fcntl
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.training.metrics import METRICS_FILE

from .measurement import evaluation_hash, measure, measure_plans, missing_plans
from .run_result import PlanResults, RunResult
from .runs import Run
from .training import FIRST_STAGE, recipe_of, trained

RESULT_FILE = "result.json"
Archive = Mapping[str, RunResult]  # name of a run, with the hash of its specification -> result
NO_ARCHIVE: Archive = {}


def read_result(run: Run, cache: Path, archive: Archive = NO_ARCHIVE) -> RunResult | None:
    """The finished result of a run, from the cache or the archive; None where it is missing, outdated, or lacks a plan."""
    for result in (_stored(run, cache), archive.get(run.name)):
        if result is not None and result.evaluation == evaluation_hash(run) and not missing_plans(run, result):
            return result
    return None


def _stored(run: Run, cache: Path) -> RunResult | None:
    """What the cache has of a run, however it was measured."""
    try:
        return RunResult.from_dict(json.loads((cache / run.name / RESULT_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_or_read(run: Run, cache: Path) -> RunResult:
    """The result of a run: read where it is finished; else the network is trained, or its training resumed, and then measured.

    It is safe to kill at any time. Several processes may share a cache: one that wants a run which another is at waits for it.
    """
    folder = cache / run.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the system when the process ends, however it ends
        return read_result(run, cache) or _new_result(run, cache)


def _new_result(run: Run, cache: Path) -> RunResult:
    torch.set_num_threads(recipe_of(run).threads)  # as in training, which may have been in another process
    model = trained(run, cache)
    began, result = time.monotonic(), _stored(run, cache)
    if result is None or result.plans is None or result.evaluation != evaluation_hash(run):
        result = measure(run, model, _training_seconds(cache / run.name))
    else:  # plans that were measured before stay, even those that cannot be measured here
        more = measure_plans(run, model, missing_plans(run, result), result.plans.modes)
        result = replace(result, plans=_merge(result.plans, more))
    result = replace(result, measure_s=round(result.measure_s + time.monotonic() - began, 1))
    write_atomically(cache / run.name / RESULT_FILE, json.dumps(result.to_dict(), indent=1) + "\n")
    return result


def _merge(old: PlanResults, new: PlanResults) -> PlanResults:
    return replace(old, modes=old.modes | new.modes, test=old.test | new.test, spent=old.spent | new.spent)


def _training_seconds(folder: Path) -> float:
    """How long the epochs of a training took, in all the processes that it was done in."""
    total = 0.0
    for stage in (folder / FIRST_STAGE, folder):
        if (stage / METRICS_FILE).exists():
            with (stage / METRICS_FILE).open(newline="", encoding="utf-8") as file:
                total += sum(float(line["seconds"]) for line in csv.DictReader(file))
    return round(total, 1)
