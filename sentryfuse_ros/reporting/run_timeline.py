"""A run as a table: a CSV file with one row per prediction, the states of the sensors at the same tick beside it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from ..masks import mask_to_bits
from ..replay.run_record import RunRecord

COLUMNS = (
    "t_s",
    "valid",
    "class_name",
    "confidence",
    "mask",
    "ratio",
    "battery_percent",
    "inference_ms",
    "latency_ms",
    "overhead_ms",
    "sequence",
    "reason",
)


def write_timeline(path: Path, record: RunRecord) -> None:
    """Write the table; it has a column ``truth`` if the run has labels. Raises OSError."""
    names = sorted({name for row in record.statuses for name in row.states})
    by_time = {round(row.t_s, 6): row.states for row in record.statuses}
    labels = record.labels
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        truth = ["truth"] if labels is not None else []
        table.writerow([*COLUMNS, *truth, *(f"{n}_state" for n in names), *(f"{n}_rate_hz" for n in names)])
        for p in record.predictions:
            states = by_time.get(round(p.t_s, 6), {})
            battery = record.battery_percent(p.t_s)
            table.writerow(
                [
                    f"{p.t_s:.3f}",
                    int(p.valid),
                    p.class_name,
                    f"{p.confidence:.3f}",
                    mask_to_bits(p.mask),
                    f"{p.ratio:.3f}",
                    "" if math.isnan(battery) else f"{battery:.1f}",
                    f"{p.inference_ms:.2f}",
                    f"{p.latency_ms:.2f}",
                    f"{p.overhead_ms:.2f}",
                    p.sequence,
                    p.reason,
                    *([labels.at_s(p.t_s)] if labels is not None else []),
                    *(states[n].state if n in states else "" for n in names),
                    *(f"{states[n].rate_hz:.1f}" if n in states else "" for n in names),
                ]
            )
