"""The tables of docs/STREAMING.md, from the JSON of `sentryfuse bench streaming`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from .page_parts import insert, markdown_table, read_page
from .streaming_table import reached_in_words, streams_in_words

MARK = "sentryfuse bench streaming --page: "
WORDS = {"plain": "every picture whole"}
TICKS = {
    "no stream": "no stream",
    "stream, ratio 0": "stream, ratio 0",
    "stream, ratio 0.3": "stream, ratio 0.3",
    "stream, ratio 0.7": "stream, ratio 0.7: everything together",
}


def check_streaming_page(path: Path) -> None:
    """Raises DataError for a page without places for the tables, before these are measured."""
    if MARK not in read_page(path):
        raise DataError(f"page {path}", f"no place for {MARK}...", "marks for the tables", "take the page of the sources")


def write_streaming_page(result: Mapping[str, Any], path: Path) -> None:
    """Write every table into the page, between its marks. Raises DataError where a mark is missing."""
    insert(path, {MARK + name: part for name, part in streaming_parts(result).items()})


def streaming_parts(result: Mapping[str, Any]) -> dict[str, str]:
    """Name of a place in the page -> Markdown."""
    models = result["by_model"]
    head = ["measure", "goal", *(f"{found['tokens']} tokens" for found in models.values())]
    rows = [[row["measure"], row["goal"] or "-", *(reached_in_words(row, name) for name in models)] for row in result["goals"]]
    parts = {"goals": markdown_table(head, rows)}
    for found in models.values():
        tokens = f"{found['tokens']} tokens"
        parts[f"camera still, {tokens}"] = _still(found)
        parts[f"camera moving, {tokens}"] = _moving(found["moving"])
        parts[f"times, {tokens}"] = _times(found["latency_ms"], tokens)
        parts[f"ticks, {tokens}"] = _ticks(found["tick_ms"], tokens)
    return parts


def _still(found: Mapping[str, Any]) -> str:
    head = [
        f"{streams_in_words(found)}, camera still",
        "accuracy",
        "kept",
        "same",
        "windows",
        "FLOPs",
        "FLOPs, low motion",
    ]
    rows = []
    for name, s in found["still"].items():
        low, high = s["kept_ci95"]
        shares = [f"{100 * s[key]:.1f} %" for key in ("windows_share", "flops_share", "flops_share_low_motion")]
        branches = f"{s['reuse']:.2f} / {s['light']:.2f} / {s['full']:.2f}"
        kept = f"{s['kept']:.3f} ({low:.3f} to {high:.3f})"
        same = f"{100 * s['same_prediction']:.0f} %"
        words = WORDS.get(name, name)
        rows.append([words, f"{100 * s['accuracy']:.1f}", kept, same, *shares, branches, f"{s['switches_per_s']:.2f}"])
    return markdown_table([*head, "reuse / light / full", "switches a second"], rows)


def _moving(moving: Mapping[str, Any]) -> str:
    head = ["camera moving from the ninth picture on", "", "accuracy", "kept", "same", "windows", "whole pictures"]
    rows = []
    for motion, scores in moving.items():
        for name, s in scores.items():
            shares = [f"{100 * s[key]:.0f} %" for key in ("same_prediction", "windows_share", "dense_pictures")]
            rows.append([motion, WORDS.get(name, name), f"{100 * s['accuracy']:.1f}", f"{s['kept']:.3f}", *shares])
    return markdown_table(head, rows)


def _times(latency_ms: Mapping[str, Mapping[str, float]], tokens: str) -> str:
    rows = [[f"{scene}: {side}", f"{ms:.3f}"] for scene, sides in latency_ms.items() for side, ms in sides.items()]
    return markdown_table([f"mean time of a picture of {tokens}, one thread", "ms"], rows)


def _ticks(tick_ms: Mapping[str, float], tokens: str) -> str:
    rows = [[words, f"{tick_ms[side + ', nobody']:.2f}", f"{tick_ms[side + ', somebody']:.2f}"] for side, words in TICKS.items()]
    return markdown_table([f"mean of a tick, {tokens}, ms", "nobody there", "somebody there"], rows)
