"""The results of `sentryfuse bench streaming`, as its JSON has them, for a console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIDE_COLUMNS = 34


def streaming_table(result: Mapping[str, Any]) -> str:
    """Tables of accuracy and work and of latency by model; then the goals, all models beside one another, and the summary."""
    lines = []
    for name, found in result["by_model"].items():
        lines += [*_of_a_model(name, found), ""]
    return "\n".join([*lines, *_goals(result), "", "summary", *_summary(result["summary"])])


def _of_a_model(name: str, found: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}, {found['tokens']} tokens: {streams_in_words(found)}, camera still", *_scores(found["still"])]
    if found["steady"]:
        lines += ["", "people who stand still", *_scores(found["steady"])]
    for motion, scores in found["moving"].items():
        lines += ["", f"camera moving: {motion}", *_scores(scores)]
    scenes = {f"{scene}: mean of a picture": sides for scene, sides in found["latency_ms"].items()}
    for title, sides in {**scenes, "mean of a tick of the fuser": found["tick_ms"]}.items():
        lines += ["", title, *(f"  {side:<{SIDE_COLUMNS}} {ms:8.3f} ms" for side, ms in sides.items())]
    return lines


def streams_in_words(found: Mapping[str, Any]) -> str:
    """What a model was measured on, before a standing camera."""
    rooms = found["rooms"]
    return f"{found['recordings']} recordings, each in {rooms} {'room' if rooms == 1 else 'rooms'}"


def _scores(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [
        f"  {'':<{SIDE_COLUMNS}} {'accuracy':>8} {'kept':>6} {'(95 %)':>13} {'same':>5} {'windows':>8} {'FLOPs':>6} "
        f"{'low mot.':>8} {'r/l/f':>14} {'switch/s':>8}"
    ]
    for name, s in scores.items():
        low, high = s["kept_ci95"]
        lines.append(
            f"  {name:<{SIDE_COLUMNS}} {100 * s['accuracy']:8.1f} {s['kept']:6.3f} ({low:5.3f}-{high:5.3f}) "
            f"{s['same_prediction']:5.2f} {100 * s['windows_share']:7.1f}% {100 * s['flops_share']:5.1f}% "
            f"{100 * s['flops_share_low_motion']:7.1f}% {s['reuse']:4.2f}/{s['light']:4.2f}/{s['full']:4.2f} "
            f"{s['switches_per_s']:8.2f}"
        )
    return lines


def _goals(result: Mapping[str, Any]) -> list[str]:
    recordings = max(found["recordings"] for found in result["by_model"].values())
    rows = [[f"goals, {recordings} recordings", "", *(f"{found['tokens']} tokens" for found in result["by_model"].values())]]
    for row in result["goals"]:
        rows.append([f"  {row['measure']}", row["goal"], *(reached_in_words(row, name) for name in result["by_model"])])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def reached_in_words(row: Mapping[str, Any], model: str) -> str:
    """What a model reached of a goal, and "missed" where that is not enough."""
    return row["reached"][model] + (", missed" if row["met"][model] is False else "")


def _summary(summary: Mapping[str, float]) -> list[str]:
    return [f"  {key:<40} {value:g}" for key, value in summary.items()]
