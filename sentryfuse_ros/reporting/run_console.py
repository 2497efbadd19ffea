"""What `sentryfuse replay` prints: the setup before a run, the result after it."""

from __future__ import annotations

import sys
from pathlib import Path

from ..bags.sensor_topics import BATTERY_TYPE
from ..nanoseconds import NS_PER_S
from ..replay.run_summary import RunResult
from ..replay.scores import RunScores
from ..replay.session import PreparedReplay
from .recording_console import rate_text


def print_setup(prepared: PreparedReplay, domain_id: int) -> None:
    """Which topic serves which sensor, what is not played, and which faults are injected. Warnings go to stderr."""
    bag, schedule = prepared.bag, prepared.schedule
    print(f"replay {bag.path}: {schedule.duration_s(bag):.1f} s, ROS_DOMAIN_ID={domain_id}")
    for sensor in prepared.settings.sensors:
        topic = schedule.sensors.get(sensor.name)
        if topic is None:
            print(f"  {sensor.name}: not in this bag ({prepared.found.absent.get(sensor.name, 'see below')})")
            continue
        rate = rate_text(prepared.facts[sensor.name].rate_hz, sensor.model_input, prepared.specs)
        print(f"  {sensor.name}: {topic.name} ({topic.msg_type}, {topic.count} messages, {rate})")
    replaced = [t.name for t in bag.topics.values() if t.msg_type == BATTERY_TYPE] if schedule.script.battery else []
    if schedule.script.battery:
        print("  battery: that of the fault file" + (f", in place of {', '.join(replaced)}" if replaced else ""))
    elif prepared.battery is not None:
        print(f"  battery: {prepared.battery.name}")
    skipped_s = (schedule.start_ns - bag.start_ns) / NS_PER_S
    if skipped_s > 1.0:
        print(f"  begins with the first message that is played, {skipped_s:.1f} s after the first of the recording")
    played = {topic.name for topic in schedule.sensors.values()} | set(schedule.other_topics) | set(replaced)
    unused = [f"{t.name} ({t.msg_type})" for t in bag.topics.values() if t.name not in played]
    if unused:
        print("  not played, because fuse_node does not use them: " + ", ".join(unused))
    for fault in schedule.script.faults:
        print(f"  fault: {fault.describe()}")
    sys.stdout.flush()
    for text in ((bag.damage,) if bag.damage else ()) + prepared.warnings:
        print(f"warning: {text}", file=sys.stderr)
    sys.stderr.flush()


def print_summary(result: RunResult, out: Path) -> None:
    """Figures and verdicts, and the names of the files that are in ``out``."""
    s = result.summary
    print(
        f"predictions {s.predictions} ({s.valid_predictions} valid), longest gap {s.max_gap_s} s, "
        f"overhead p99 {s.overhead_ms_p99} ms, inference p50 {s.inference_ms_p50} ms, ratios {list(s.ratios_seen)}"
    )
    print_scores(result.scores)
    for from_s, to_s in result.holes:
        print(f"skipped the silence of the recording from {from_s:.1f} to {to_s:.1f} s")
    if result.damage:
        print(f"used in part: {result.damage}")
    if s.never_seen:
        print("never seen: " + ", ".join(s.never_seen))
    for name, reason in s.never_ok.items():
        print(f"never OK: {name}, {reason}")
    for verdict in s.faults:
        print("  " + verdict.describe())
    print("promises kept" if s.promises_kept else "PROMISES BROKEN:\n  " + "\n  ".join(s.promises_broken))
    files = {"timeline": out / "timeline.csv", "picture": out / "timeline.png", "node log": out / "fuse_node.log"}
    print(", ".join(f"{what}: {path}" for what, path in files.items() if path.is_file()))


def print_scores(scores: RunScores) -> None:
    """The accuracy, if there are labels to judge by."""
    parts = (
        ("at all moments", scores.overall),
        ("at steady moments", scores.steady),
        ("with all sensors", scores.all_sensors),
        ("while sensors were missing", scores.sensor_missing),
    )
    texts = [
        f"{100 * part.accuracy:.1f} % {name} ({part.correct} of {part.judged})"
        for name, part in parts
        if part.accuracy is not None
    ]
    if texts:
        print("accuracy " + ", ".join(texts))
    changes = [
        f"{100 * since.score.accuracy:.1f} % after {since.from_s:g}{'' if since.to_s is None else f' to {since.to_s:g}'} s"
        for since in scores.since_change
        if since.score.accuracy is not None
    ]
    if changes:
        print("after a change of the label: " + ", ".join(changes))
