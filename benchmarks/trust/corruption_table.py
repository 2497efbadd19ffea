"""Accuracy under corruptions, as a share of that without them: one row per sensor and kind, one column per severity."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.sensing.trust_table import Plausibility, tables_of

from .collect import CLEAN
from .corruptions import CORRUPTIONS, SEVERITIES
from .judge import masks_in_drives, verdicts

SUFFIX = ".corruptions"  # of the files that `collect --corruptions` writes
BELOW = 0.01  # a cell that is less below the unplugged sensor is level with it
RESAMPLES = 4000  # of the drives, for an interval


def judge_corruptions(model: Path, cache: Path) -> dict[str, Any]:
    """The whole network with all sensors, of which one is corrupted and judged by its trust table as on the robot."""
    checkpoint = read_checkpoint(model)
    tables = tables_of(checkpoint.trust, f"trust file of {model}")
    stored = np.load(cache / "windows.npz")
    labels, drives = stored["labels"], stored["drives"]
    rows: list[dict[str, Any]] = []
    for sensor in checkpoint.config.names:
        arrays = np.load(cache / f"{sensor}.corruptions.npz")
        clean, without = (float((arrays[f"{CLEAN}/{what}"] == labels).mean()) for what in ("predicted", "without"))
        alone, in_drives = arrays[f"{CLEAN}/without"], masks_in_drives(cache, sensor, SUFFIX)
        for corruption in (c for c in CORRUPTIONS if c.sensor == sensor):
            values, believed = arrays[f"{corruption.name}/quantities"], arrays[f"{corruption.name}/predicted"]
            noticed = arrays[f"{corruption.name}/seen"] | (verdicts(tables[sensor], values) == Plausibility.IMPLAUSIBLE)
            noticed = in_drives.get(corruption.name, noticed)
            right = np.where(noticed, alone, believed) == labels
            kept = float(right.mean())
            low, high = interval(right.astype(float) - (alone == labels), drives)
            rows.append(
                {
                    "sensor": sensor,
                    "corruption": corruption.text,
                    "severity": int(corruption.name.rpartition("/")[2]),
                    "masked": round(float(noticed.mean()), 4),
                    "believed": round(float((believed == labels).mean()) / clean, 4),
                    "relative": round(kept / clean, 4),
                    "unplugged": round(without / clean, 4),
                    "against_unplugged_low": round(low / clean, 4),
                    "against_unplugged_high": round(high / clean, 4),
                }
            )
    return {
        "machine": machine(1),
        "model": checkpoint.info.get("name"),
        "windows": len(labels),
        "drives": len(set(drives.tolist())),
        "mean_relative_accuracy": round(float(np.mean([r["relative"] for r in rows])), 4),
        "lowest_relative_accuracy": min(r["relative"] for r in rows),
        "worst_against_unplugged": round(min(r["relative"] - r["unplugged"] for r in rows), 4),
        "rows": rows,
    }


def interval(values: np.ndarray, drives: np.ndarray) -> tuple[float, float]:
    """The mean of ``values`` (n,) is within these bounds in 95 % of the sets of as many drives, drawn with replacement: the
    windows of one drive (``drives``, n names) are much alike."""
    names, of = np.unique(drives, return_inverse=True)
    sums, counts = np.bincount(of, values), np.bincount(of)
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


def corruption_markdown(result: dict[str, Any]) -> str:
    """The table of docs/TRUST.md."""
    below = [r for r in result["rows"] if r["relative"] < r["unplugged"] - BELOW]
    text = (
        f"Mean over all cells {result['mean_relative_accuracy']:.3f}, lowest {result['lowest_relative_accuracy']:.3f}; the cell "
        f"that is worst against the unplugged sensor is {result['worst_against_unplugged']:+.3f} from it, and {len(below)} of "
        f"the {len(result['rows'])} cells are more than {BELOW:g} below it ({result['windows']} windows of {result['drives']} "
        "drives). In brackets, the share of windows in which the sensor is masked."
    )
    lines = [
        textwrap.fill(text, 140),
        *(["", *map(_below, below)] if below else []),
        "",
        "| sensor | corruption | " + " | ".join(f"severity {s}" for s in SEVERITIES) + " | unplugged |",
        "|---|---|" + "---|" * (len(SEVERITIES) + 1),
    ]
    for sensor, corruption in dict.fromkeys((r["sensor"], r["corruption"]) for r in result["rows"]):
        own = [r for r in result["rows"] if (r["sensor"], r["corruption"]) == (sensor, corruption)]
        cells = " | ".join(f"{r['relative']:.3f}" + (f" ({r['masked']:.0%})" if r["masked"] else "") for r in own)
        lines.append(f"| {sensor} | {corruption} | {cells} | {own[0]['unplugged']:.3f} |")
    return "\n".join(lines) + "\n"


def _below(row: dict[str, Any]) -> str:
    """What is to be said of a cell that is below the unplugged sensor."""
    low, high = row["against_unplugged_low"], row["against_unplugged_high"]
    return (
        f"- {row['sensor']}, {row['corruption']}, severity {row['severity']}: {row['relative'] - row['unplugged']:+.3f}, "
        f"with a 95 % interval of {low:+.3f} to {high:+.3f} (bootstrap over drives)"
    )
