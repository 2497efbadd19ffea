"""Everything measured of one model on one data set, as one JSON-able report; and its rows as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.engine import Engine
from ..training.examples import Examples, RecordingExamples, WindowExamples
from .breakdown import condition_rows, confusions, reliability
from .cost import costs
from .predictions import LastMoments, predict, present
from .summary import summarise
from .table import accuracy_rows


def evaluate(engine: Engine, examples: Examples, classes: Sequence[str] | None = None, latency_runs: int = 60) -> dict[str, Any]:
    """Measure a model; ``classes``: what the examples' labels are places in (default: the model's classes).

    -> modalities, classes, levels, windows, recordings, present, summary, rows, confusion, conditions, reliability.
    A row: mask, live, ratio, judged, accuracy, ci95, ece (of the calibrated probabilities), confidence, flops, params,
    latency_ms. Recordings are judged as a whole (each sensor's window ends at that sensor's last row); of them
    accuracy_live and ece_live are of the last moment at which all sensors deliver. Raises DataError where there is no
    example, or a class unknown to the model.
    """
    found = predict(engine, examples, classes)
    rows = accuracy_rows(found)
    if isinstance(examples, RecordingExamples):
        for row, live in zip(rows, accuracy_rows(predict(engine, LastMoments(examples.recordings), classes))):
            row.update(accuracy_live=live["accuracy"], ece_live=live["ece"])
    for row, cost in zip(rows, costs(engine, examples, found.masks, latency_runs)):
        row.update(cost.to_dict())
    known = examples.windows.present if isinstance(examples, WindowExamples) else {}
    shares = present(known, engine.modalities, len(examples)).mean(0)
    return {
        "modalities": list(engine.modalities),
        "classes": list(engine.classes),
        "levels": list(engine.ratio_levels),
        "windows": len(examples),
        "recordings": len(np.unique(found.recording)),
        "present": {name: share_of(float(share)) for name, share in zip(engine.modalities, shares)},
        "latency_runs": latency_runs,
        "calibrated": bool(engine.info.get("temperatures")),
        "summary": summarise(rows, engine.quantise),
        "rows": rows,
        "confusion": confusions(found),
        "conditions": condition_rows(found, examples.conditions),
        "reliability": reliability(found),
    }


def share_of(share: float) -> float:
    """To four places; 1 only where nothing was absent."""
    return round(share, 4) if share == 1 else min(round(share, 4), 0.9999)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows as a table: live sensors joined by +, the interval in two columns, empty where there is no value."""
    flat = []
    for row in rows:
        low, high = row["ci95"] or (None, None)
        flat.append(
            {**{k: v for k, v in row.items() if k != "ci95"}, "live": "+".join(row["live"]), "ci95_low": low, "ci95_high": high}
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(flat[0]))
        out.writeheader()
        out.writerows(flat)
