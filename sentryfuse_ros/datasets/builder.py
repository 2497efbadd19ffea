"""Build a window folder from many recordings.

Recordings are extracted in parallel and each one is kept as a part as soon as it is done; at the end the parts are joined.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..bags.bag import Bag
from ..bags.find import bag_folder, bag_name
from ..bags.label_sources import intervals_path, read_labels
from ..bags.labels import Labels
from ..bags.run_description import RunDescription, read_run_description
from ..errors import BagError, DataError, reason_of
from ..executors import executor
from ..files import replacing, write_atomically
from ..masks import mask_to_bits
from ..nanoseconds import NS_PER_S
from .damaged_npz import DAMAGED_NPZ
from .description import BagDescription, DatasetDescription
from .extract import BagWindows, WindowSettings, extract_windows
from .output_folder import check_folder, make_room, parts_folder, remove_parts
from .splits import DEFAULT_SHARES, assign_splits, origins_of
from .window_folder import DESCRIPTION, TABLE, TABLE_COLUMNS

INPUT = "input "  # begins a modality's name in a part, so that it cannot be the name of one of the other arrays
REASONS_SHOWN = 5  # why bags gave no window, that an error quotes


@dataclass(frozen=True)
class DatasetTask:
    """Which data set to build.

    labels: a topic or an intervals file. shares: split -> its share. group_by: which recordings stay together, as in
    `splits.origins_of`. jobs and scheduler: as in `executors.executor`. command: for dataset.json.
    """

    bags: tuple[Path, ...]
    labels: str
    settings: WindowSettings
    out: Path
    shares: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_SHARES))
    group_by: str = ""
    seed: int = 0
    jobs: int = 1
    scheduler: str = ""
    command: str = ""


@dataclass(frozen=True)
class BagTask:
    """One recording to extract into a part of the data set."""

    bag: Path
    labels: str
    settings: WindowSettings
    part: Path


def build_dataset(task: DatasetTask, progress: Callable[[int], None] = lambda done: None) -> DatasetDescription:
    """Build a data set; ``progress`` is called with the number of recordings done. It can be interrupted and started again.

    A recording belongs to one split as a whole: to the one that its run.json names, otherwise to one drawn by the seed, together
    with the others of its origin. Raises DataError if no recording gives a window, two have the same name, or one has no origin.
    """
    _check_names(task)
    origins = origins_of([bag_name(path) for path in task.bags], task.group_by)
    description = DatasetDescription.of(task.command, task.labels, task.settings)
    check_folder(task.out, description)
    parts = parts_folder(task.out, description)
    # Whole paths, because the workers of a cluster run in folders of their own.
    tasks = [
        BagTask(path, _label_source(path, task.labels), task.settings, (parts / f"{bag_name(path)}.npz").absolute())
        for path in task.bags
    ]
    found = []
    with executor(task.jobs, task.scheduler) as workers:
        for bag in workers.run(extract_part, tasks):
            found.append(bag)
            progress(len(found))
    found.sort(key=lambda bag: bag.name)
    found = [replace(bag, origin=origins.get(bag.name, "")) for bag in found]
    used = [bag for bag in found if bag.windows]
    if not used:
        bags_by_reason: dict[str, list[str]] = {}
        for bag in found:
            bags_by_reason.setdefault(bag.why_empty(), []).append(bag.name)
        reasons = [
            names[0] + (f" and {len(names) - 1} more bags" if names[1:] else "") + f": {reason}"
            for reason, names in bags_by_reason.items()
        ]
        more = f"; and {len(reasons) - REASONS_SHOWN} other reasons" if len(reasons) > REASONS_SHOWN else ""
        raise DataError(
            "data set",
            "no window in any bag: " + "; ".join(reasons[:REASONS_SHOWN]) + more,
            "at least one window",
            "correct --labels, --params or the window of the modalities",
        )
    used = assign_splits(used, task.shares, task.seed)
    description = replace(
        description,
        classes=task.settings.classes or tuple(sorted({label for bag in used for label in bag.labels})),
        windows=sum(bag.windows for bag in used),
        bags=tuple(used),
        left_out=tuple(bag for bag in found if not bag.windows),
    )
    _join(parts, description, task.out)
    return description


def _label_source(bag: Path, labels: str) -> str:
    """The whole path of the intervals file that is meant for a bag, or the topic as it is."""
    path = intervals_path(bag, labels)
    return str(path.absolute()) if path.is_file() else labels


def _check_names(task: DatasetTask) -> None:
    double = [name for name, count in Counter(bag_name(path) for path in task.bags).items() if count > 1]
    if double:
        raise DataError(
            "bags",
            f"two called {double[0]!r}",
            "bags of different names",
            "rename one of them, or give the pieces of a split recording a folder of their own",
        )
    bad = [spec.name for spec in task.settings.specs if "/" in spec.name]
    if bad:
        raise DataError("modality names", bad, "names that a file can have", "rename them in the training YAML")


def extract_part(task: BagTask) -> BagDescription:
    """Extract one recording into its part; a recording that cannot be read is described, not raised."""
    description_path = task.part.with_suffix(".json")
    current = fingerprint(task)
    kept = _kept(task.part, description_path)
    if kept is not None and kept.fingerprint == current:
        return kept
    run = RunDescription()
    try:
        run = read_run_description(task.bag) or run
        with Bag(task.bag) as bag:
            labels = read_labels(bag, task.labels)
            check_labels_meet(labels, bag, task.labels)
            found = extract_windows(bag, labels, task.settings)
            start_ns, duration_s, damage = bag.start_ns, round(bag.duration_s, 3), bag.damage
    except (BagError, DataError) as error:
        return BagDescription(bag_name(task.bag), error=str(error), conditions=run.disturbed, split=run.split)
    description = BagDescription(
        bag_name(task.bag),
        windows=len(found.labels),
        steady=int(found.steady.sum()),
        conditions=run.disturbed,
        split=run.split,
        duration_s=duration_s,
        skipped=dict(found.skipped),
        topics=found.topics,
        rates_hz=found.rates_hz,
        types=found.types,
        absent=found.absent,
        remarks=tuple(found.remarks),
        damage=damage,
        unused=found.unused,
        faults=found.faults,
        labels=dict(Counter(found.labels)),
        fingerprint=current,
    )
    if found.labels:
        _write_part(task.part, found, start_ns, description)
    return description


def _write_part(part: Path, found: BagWindows, start_ns: int, description: BagDescription) -> None:
    """Write the windows of a recording, and then their description. Raises DataError where there is no room for them."""
    arrays = {
        "_labels": np.array(found.labels, dtype=str),
        "_end_ns": found.end_ns,
        "_live": found.live,
        "_steady": found.steady,
        "_since_change_s": found.since_change_s,
        "_end_s": (found.end_ns - start_ns) / NS_PER_S,
        **{INPUT + name: x for name, x in found.inputs.items()},
    }
    try:
        # Written to the disk directly: the windows of a long recording are too large to be held in memory twice.
        with replacing(part) as file:
            np.savez(file, allow_pickle=False, **arrays)
        write_atomically(part.with_suffix(".json"), json.dumps(description.to_dict()))
    except OSError as error:
        raise DataError(
            f"data set folder {part.parent.parent}",
            reason_of(error),
            "room to write",
            "free some space, then run the same command again",
        ) from error


def check_labels_meet(labels: Labels, bag: Bag, source: str) -> None:
    """Raises DataError with both times if there are labels and none of them lies within the recording."""
    if not labels.intervals:
        return
    begin_s, end_s = labels.intervals[0].from_ns / NS_PER_S, labels.intervals[-1].to_ns / NS_PER_S
    start_s = bag.start_ns / NS_PER_S
    if labels.between(bag.start_ns, bag.start_ns + round(bag.duration_s * NS_PER_S)):
        return
    raise DataError(
        f"labels {source} of bag {bag.name}",
        f"{begin_s:.3f} to {end_s:.3f} s",
        f"some within the recording, {start_s:.3f} to {start_s + bag.duration_s:.3f} s",
        "they are on the clock of the stamps, in seconds since 1970; correct them, or leave this bag out",
    )


def fingerprint(task: BagTask) -> str:
    """Identifies what the windows depend on besides the settings: names, sizes and times of the bag's files and label file."""
    folder = bag_folder(task.bag)
    files = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    label_file = intervals_path(task.bag, task.labels)
    if label_file not in files:
        files.append(label_file)
    seen = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.exists()]
    return hashlib.sha256(repr((str(task.bag.resolve()), seen)).encode()).hexdigest()


def _kept(part: Path, description_path: Path) -> BagDescription | None:
    """What an earlier run found in a recording; None if it left no complete part."""
    try:
        return BagDescription.from_dict(json.loads(description_path.read_text(encoding="utf-8"))) if part.exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _join(parts: Path, description: DatasetDescription, out: Path) -> None:
    """Join the parts into one memory-mapped array per modality and one table; the description is written last."""
    make_room(out, sum(4 * description.windows * int(np.prod(spec.shape)) for spec in description.specs))
    arrays = {
        spec.name: np.lib.format.open_memmap(out / f"{spec.name}.npy", "w+", np.float32, (description.windows, *spec.shape))
        for spec in description.specs
    }
    at = 0
    with (out / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(TABLE_COLUMNS)
        for bag in description.bags:
            path = parts / f"{bag.name}.npz"
            try:
                with np.load(path, allow_pickle=False) as part:
                    count = len(part["_labels"])
                    for name, array in arrays.items():
                        array[at : at + count] = part[INPUT + name]
                    names = ("_end_s", "_end_ns", "_labels", "_live", "_steady", "_since_change_s")
                    for end_s, stamp_ns, label, live, steady, since_s in zip(*(part[name] for name in names), strict=True):
                        since = "" if np.isnan(since_s) else f"{since_s:.3f}"
                        row = (bag.name, f"{end_s:.3f}", stamp_ns, bag.split, label, mask_to_bits(live), int(steady), since)
                        table.writerow(row)
            except DAMAGED_NPZ as error:
                raise DataError(f"part {path}", reason_of(error), "a complete file", "remove it and run again") from error
            at += count
    for array in arrays.values():
        array.flush()
    write_atomically(out / DESCRIPTION, json.dumps(description.to_dict(), indent=1) + "\n")
    remove_parts(out)
