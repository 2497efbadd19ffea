"""What a replay prints: the plan before it, the verdict after it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..bags.bag import Bag, Topic
from ..replay.faults import FaultScript
from ..settings import Settings


def say_plan(
    bag: Bag, matched: Mapping[str, Topic], settings: Settings, script: FaultScript, extra: Sequence[Topic], domain_id: int
) -> None:
    """Which topic is which sensor, what is left out, what will be broken."""
    print(f"replay {bag.path}: {bag.duration_s:.1f} s, ROS_DOMAIN_ID={domain_id}")
    for sensor in settings.sensors:
        topic = matched.get(sensor.name)
        print(f"  {sensor.name}: " + (f"{topic.name} ({topic.msg_type}, {topic.count} messages)" if topic else "not in this bag"))
    played = {t.name for t in matched.values()} | {t.name for t in extra}
    left = [f"{t.name} ({t.msg_type})" for t in bag.topics.values() if t.name not in played]
    if left:
        print("  not played, fuse_node has no use for them: " + ", ".join(left))
    for fault in script.faults:
        print(f"  fault: {fault.describe()}")
    sys.stdout.flush()


def print_summary(summary: Mapping, out: Path) -> None:
    """Figures and verdicts, and where the files lie."""
    s = summary
    print(
        f"predictions {s['predictions']} ({s['valid_predictions']} valid), max gap {s['max_gap_s']} s, "
        f"late p99 {s['overhead_ms_p99']} ms, inference p50 {s['inference_ms_p50']} ms, ratios {s['ratios_seen']}"
    )
    print_truth(s["truth"])
    if s["never_seen"]:
        print("never seen: " + ", ".join(s["never_seen"]))
    for fault in s["faults"]:
        print(
            f"  {fault['sensor']} {fault['kind']} {fault['from_s']:g}-{fault['to_s']:g} s: seen as "
            f"{'/'.join(fault['seen_as']) or 'nothing'}, cleared after {fault['mask_clear_s']} s "
            f"(limit {fault['clear_limit_s']}), "
            f"back {fault['mask_return_s']} s after enough good messages (limit {fault['return_limit_s']})"
            + (f"; {fault['note']}" if fault["note"] else "")
        )
    print("promises kept" if s["promises_kept"] else "PROMISES BROKEN:\n  " + "\n  ".join(s["promises_broken"]))
    print(f"timeline: {out / 'timeline.csv'}, picture: {out / 'timeline.png'}, node log: {out / 'fuse_node.log'}")


def print_truth(truth: Mapping) -> None:
    """How often the predictions were right, where that is known."""
    if not truth["overall"]["judged"]:
        return
    parts = [
        ("in all", truth["overall"]),
        ("with all sensors", truth["all_sensors"]),
        ("while sensors were missing", truth["sensor_missing"]),
    ]
    print(
        "right "
        + ", ".join(
            f"{100 * part['accuracy']:.1f} % {name} ({part['right']} of {part['judged']})"
            for name, part in parts
            if part["judged"]
        )
    )
