"""A run as a table: a CSV file with one row per prediction, the states of the sensors at the same tick beside it."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from ..files import write_atomically
from ..masks import mask_to_bits
from ..replay.run_record import RunRecord, StreamRow

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
STREAM_COLUMNS = (
    "stream_branch",
    "stream_tokens",
    "stream_change",
    "stream_flops_share",
    "camera_moves",
)  # of a run with a stream


def write_timeline(path: Path, record: RunRecord) -> None:
    """Write the table; it has a column ``truth`` if the run has labels, and those of the stream if it has one. Raises OSError."""
    names = sorted({name for row in record.statuses for name in row.states})
    by_time = {round(row.t_s, 6): row.states for row in record.statuses}
    labels = record.labels
    text = io.StringIO(newline="")
    table = csv.writer(text)
    truth = ["truth"] if labels is not None else []
    streamed = list(STREAM_COLUMNS) if record.streams else []
    table.writerow([*COLUMNS, *truth, *streamed, *(f"{n}_state" for n in names), *(f"{n}_rate_hz" for n in names)])
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
                *(_stream_cells(record.stream(p.t_s)) if record.streams else []),
                *(states[n].state if n in states else "" for n in names),
                *(f"{states[n].rate_hz:.1f}" if n in states else "" for n in names),
            ]
        )
    write_atomically(path, text.getvalue())


def _stream_cells(stream: StreamRow | None) -> list[str]:
    if stream is None:
        return [""] * len(STREAM_COLUMNS)
    return [stream.branch, f"{stream.tokens:.4f}", f"{stream.change:.2f}", f"{stream.flops_share:.4f}", str(int(stream.moving))]
