"""Many recordings to one data set folder: cut in parallel, each kept as soon as it is done, put together at the end."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bags.bag import Bag
from ..bags.labels import Labels, read_intervals, read_topic
from ..errors import BagError, DataError
from ..masks import mask_to_bits
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec
from ..settings import SensorSettings
from .extract import cut_bag
from .window_folder import DESCRIPTION, FORMAT, FORMAT_VERSION, SPLITS, TABLE, TABLE_COLUMNS

RUN_FILE = "run.json"  # beside a bag: {"split": "train", "disturbed": ["fog"]}; both keys optional, others are ignored
PARTS = "parts"
INPUT = "input "  # before a modality's name in a part, so that no name can be one of the other arrays'


@dataclass(frozen=True)
class Job:
    """How to cut one bag."""

    bag: Path
    labels: str  # a topic (begins with /), or a CSV: beside the bag, or one for all
    specs: tuple[ModalitySpec, ...]
    sensors: tuple[SensorSettings, ...]
    stride_s: float
    ignore: tuple[str, ...]
    part: Path


def cut(job: Job) -> dict[str, Any]:
    """Cut one bag into its part file; returns what was found. A broken bag is reported, not raised."""
    about_path = job.part.with_suffix(".json")
    made_of = fingerprint(job)
    kept = _kept(job.part, about_path)
    if kept is not None and kept.get("made_of") == made_of:
        return kept
    about: dict[str, Any] = {"name": job.bag.name, "windows": 0, "error": "", "conditions": [], "split": ""}
    try:
        about |= _run_file(job.bag)
        with Bag(job.bag) as bag:
            found = cut_bag(bag, job.specs, job.sensors, find_labels(bag, job.labels), job.stride_s, job.ignore)
            start_ns = bag.start_ns
            about["duration_s"] = round(bag.duration_s, 3)
    except (BagError, DataError) as error:
        return {**about, "error": str(error)}
    about |= {
        "windows": len(found.labels),
        "skipped": dict(found.skipped),
        "topics": found.topics,
        "unused": found.unused,
        "faults": found.faults,
        "labels": dict(Counter(found.labels)),
    }
    about["made_of"] = made_of
    if not found.labels:
        return about
    partial = job.part.with_suffix(".partial.npz")
    try:
        np.savez(
            partial,
            _labels=np.array(found.labels, dtype=str),
            _end_ns=found.end_ns,
            _present=found.present,
            _end_s=(found.end_ns - start_ns) / NS_PER_S,
            **{INPUT + name: x for name, x in found.inputs.items()},
        )
        os.replace(partial, job.part)
        partial = about_path.with_suffix(".partial.json")
        partial.write_text(json.dumps(about))
        os.replace(partial, about_path)
    except OSError as error:
        raise DataError(
            f"data set folder {job.part.parent.parent}",
            error.strerror or str(error),
            "room to write",
            "free some space, then run the same command again",
        ) from error
    return about


def fingerprint(job: Job) -> str:
    """What a bag's windows depend on besides the settings: its files, its label and run files, as sizes and times."""
    folder = job.bag if job.bag.is_dir() else job.bag.parent
    files = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    if not (folder / job.labels).exists():
        files.append(Path(job.labels))
    seen = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.exists()]
    return hashlib.sha256(repr((str(job.bag.resolve()), seen)).encode()).hexdigest()


def _kept(part: Path, about_path: Path) -> dict[str, Any] | None:
    """What an earlier run found in a bag; None where it left nothing whole."""
    try:
        return json.loads(about_path.read_text()) if part.exists() else None
    except (OSError, ValueError):
        return None


def find_labels(bag: Bag, labels: str) -> Labels:
    """By a topic of the bag, or by an intervals file: that name in the bag's folder, else the path itself."""
    if labels.startswith("/") and (labels in bag.topics or not Path(labels).exists()):
        return read_topic(bag, labels)
    folder = bag.path if bag.path.is_dir() else bag.path.parent
    beside = folder / labels
    return read_intervals(beside if beside.exists() else Path(labels), folder.name)


def _run_file(bag: Path) -> dict[str, Any]:
    path = (bag if bag.is_dir() else bag.parent) / RUN_FILE
    if not path.exists():
        return {}
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        split, conditions = run.get("split", ""), run.get("disturbed", [])
        if not isinstance(conditions, list) or not all(isinstance(c, str) for c in conditions):
            raise TypeError(f"disturbed is {conditions!r}, not a list of words")
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError, TypeError) as error:
        raise DataError(f"run file {path}", str(error), "a JSON object", "correct or remove it") from error
    if split not in ("", *SPLITS):
        raise DataError(f"run file {path} split", split, "one of " + ", ".join(SPLITS), "correct or remove it")
    return {"split": split, "conditions": conditions}


def build(
    bags: Sequence[Path],
    labels: str,
    specs: Sequence[ModalitySpec],
    sensors: Sequence[SensorSettings],
    out: Path,
    stride_s: float = 0.5,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    ignore: Sequence[str] = (),
    jobs: int = 1,
    command: str = "",
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write a data set of ``bags`` into ``out``; returns its description. Can be killed and started again.

    A bag belongs to one split as a whole: the one its run file names, else drawn by ``seed`` in the ``shares``.
    Raises DataError where nothing at all could be cut, or two bags have the same name.
    """
    names = Counter(path.name for path in bags)
    double = [name for name, count in names.items() if count > 1]
    if double:
        raise DataError("bags", f"two called {double[0]!r}", "bags of different names", "rename one folder")
    how = {
        "labels": labels,
        "stride_s": stride_s,
        "ignore": list(ignore),
        "modalities": [s.to_dict() for s in specs],
        "sensors": [[s.name, s.kind, s.topic, s.model_input] for s in sensors],
        "sensor_settings": [s.to_dict() for s in sensors],
    }
    bad = [s.name for s in specs if "/" in s.name]
    if bad:
        raise DataError("modality names", bad, "names that a file can have", "rename them in the training YAML")
    parts = _parts_folder(out, how)
    todo = [Job(path, labels, tuple(specs), tuple(sensors), stride_s, tuple(ignore), parts / f"{path.name}.npz") for path in bags]
    found = []
    if jobs > 1:
        with ProcessPoolExecutor(jobs) as pool:
            for about in pool.map(cut, todo):
                found.append(about)
                if progress:
                    progress(len(found))
    else:
        for job in todo:
            found.append(cut(job))
            if progress:
                progress(len(found))
    found.sort(key=lambda about: about["name"])
    used = [about for about in found if about["windows"]]
    if not used:
        reasons = {about["error"] or f"skipped {about.get('skipped')}" for about in found}
        raise DataError(
            "data set",
            "no window in any bag: " + "; ".join(sorted(reasons)[:3]),
            "at least one window",
            "correct --labels, --params or the window of the modalities",
        )
    assign_splits(used, shares or {"train": 0.7, "val": 0.15, "test": 0.15}, seed)
    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "command": command,
        **how,
        "classes": sorted({label for bag in used for label in bag["labels"]}),
        "windows": sum(bag["windows"] for bag in used),
        "bags": used,
        "left_out": [about for about in found if not about["windows"]],
    }
    _join(parts, used, about, specs, out)
    return about


def assign_splits(bags: Sequence[dict[str, Any]], shares: Mapping[str, float], seed: int) -> None:
    """Give every bag without one a split: drawn, so that each split gets its share of their windows."""
    free = [bag for bag in bags if not bag["split"]]
    np.random.default_rng(seed).shuffle(free)
    total, names = sum(bag["windows"] for bag in free), [n for n in shares if shares[n] > 0]
    have = dict.fromkeys(names, 0.0)
    for i, bag in enumerate(free):
        # One for each split first, where there are enough; then to the one that is furthest below its share.
        empty = [n for n in names if not have[n]] if len(free) - i <= sum(not h for h in have.values()) else []
        bag["split"] = max(empty or names, key=lambda n: shares[n] * total - have[n])
        have[bag["split"]] += bag["windows"]


def _parts_folder(out: Path, how: Mapping[str, Any]) -> Path:
    """Where finished bags are kept; those cut in another way are thrown out."""
    parts = out / PARTS
    settings = parts / "settings.json"
    text = json.dumps(how, sort_keys=True)
    try:
        if parts.exists() and (not settings.exists() or settings.read_text() != text):
            shutil.rmtree(parts)
        parts.mkdir(parents=True, exist_ok=True)
        settings.write_text(text)
    except OSError as error:
        raise DataError(
            f"data set folder {out}", error.strerror or str(error), "a folder that can be written", "choose another --out"
        ) from error
    return parts


def _join(
    parts: Path, bags: Sequence[Mapping[str, Any]], about: Mapping[str, Any], specs: Sequence[ModalitySpec], out: Path
) -> None:
    """The parts one after another as memory-mapped arrays, then the table, then the description: what is last is whole."""
    (out / DESCRIPTION).unlink(missing_ok=True)
    _need_room(out, sum(4 * about["windows"] * int(np.prod(spec.shape)) for spec in specs))
    arrays = {
        spec.name: np.lib.format.open_memmap(out / f"{spec.name}.npy", "w+", np.float32, (about["windows"], *spec.shape))
        for spec in specs
    }
    at = 0
    with (out / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(TABLE_COLUMNS)
        for bag in bags:
            try:
                with np.load(parts / f"{bag['name']}.npz", allow_pickle=False) as part:
                    count = len(part["_labels"])
                    for name, array in arrays.items():
                        array[at : at + count] = part[INPUT + name]
                    for end_s, stamp, label, live in zip(
                        part["_end_s"], part["_end_ns"], part["_labels"], part["_present"], strict=True
                    ):
                        table.writerow(
                            (
                                bag["name"],
                                f"{end_s:.3f}",
                                stamp,
                                bag["split"],
                                label,
                                mask_to_bits(live),
                            )
                        )
            except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
                raise DataError(
                    f"part {parts / bag['name']}.npz", str(error), "a whole file", "remove it and run again"
                ) from error
            at += count
    for array in arrays.values():
        array.flush()
    (out / DESCRIPTION).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(parts)


def _need_room(out: Path, size: int) -> None:
    """Raises DataError where the disk is too full: a memory-mapped file that cannot grow ends the process without a word."""
    for old in out.glob("*.npy"):
        old.unlink()
    free = shutil.disk_usage(out).free
    if size * 1.02 + 1e6 > free:
        raise DataError(
            f"data set folder {out}",
            f"{free / 1e6:.0f} MB free",
            f"{size * 1.02 / 1e6 + 1:.0f} MB",
            "free some space, then run the same command again; what is cut is kept",
        )
