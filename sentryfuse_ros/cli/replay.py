"""Play a rosbag into fuse_node over real topics, with scripted faults and a battery curve, and check its promises."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ParameterError, SentryFuseError
from ..parameters import Settings, build_settings, read_yaml
from ..replay.bag import Bag, find_battery, match_sensors
from ..replay.faults import FaultScript, read_script
from ..replay.judge import Limits, summarise
from ..replay.schedule import Truth, deliveries
from ..resources import model_path, share_path

HELP = "play a rosbag into fuse_node over real topics, with scripted faults, and check its promises"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", help="rosbag2 folder (sqlite3 or mcap)")
    parser.add_argument("--faults", metavar="FILE", help="YAML list of faults and battery curve (see config/faults/)")
    parser.add_argument("--params-file", metavar="FILE", help="parameters of fuse_node (default: config/fuse.yaml)")
    parser.add_argument("--model", help="checkpoint folder or name (default: the parameter file's)")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="SENSOR:=TOPIC",
        help="which topic of the bag is which sensor (default: by type)",
    )
    parser.add_argument("--to", type=float, metavar="S", help="stop after this many seconds of the recording")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="play it N times in a row, stamps moved on")
    parser.add_argument("--gap", type=float, default=1.0, metavar="S", help="pause between repeats [s]")
    parser.add_argument("--speed", type=float, default=1.0, help="1 is real time")
    parser.add_argument("--json", metavar="FILE", help="write the summary here")
    parser.add_argument(
        "--out", metavar="DIR", default="out/replay", help="timeline, picture and node log (default: %(default)s)"
    )
    parser.add_argument("--headless", action="store_true", help="no live view")
    parser.add_argument("--strict", action="store_true", help="exit status 1 where a promise was broken")
    parser.add_argument("--domain-id", type=int, help="ROS_DOMAIN_ID to use (default: one of its own, away from your robot)")


@dataclass
class Run:
    """Everything one replay needs, checked before anything starts."""

    bag: Bag
    settings: Settings
    params_file: Path
    script: FaultScript
    matched: dict
    model: str | None


def prepare(args: argparse.Namespace) -> Run:
    """Read and check bag, parameters and faults. Raises SentryFuseError."""
    if args.repeat < 1 or not 0.05 <= args.speed <= 20 or args.gap < 0 or (args.to is not None and args.to <= 0):
        raise ParameterError(
            "replay",
            f"repeat {args.repeat}, speed {args.speed}, gap {args.gap}, to {args.to}",
            "repeat >= 1, speed 0.05 to 20, gap >= 0, to > 0",
        )
    if args.domain_id is not None and not 0 <= args.domain_id <= 101:
        raise ParameterError("--domain-id", args.domain_id, "0 to 101 (beyond that Linux needs its ports)")
    if args.model:
        args.model = str(model_path(args.model).absolute())
    bag = Bag(args.bag)
    params_file = Path(args.params_file) if args.params_file else share_path("config", "fuse.yaml")
    settings = build_settings(read_yaml(params_file))
    script = read_script(args.faults) if args.faults else FaultScript()
    chosen = {}
    for entry in args.map:
        sensor, mark, topic = entry.partition(":=")
        if not mark or not topic:
            raise ParameterError("--map", entry, "SENSOR:=TOPIC")
        chosen[sensor] = topic
    matched = match_sensors(bag, settings.sensors, chosen)
    if not matched:
        raise SentryFuseError(
            f"bag {args.bag}",
            "topics " + ", ".join(f"{t.name} ({t.msg_type})" for t in bag.topics.values()),
            "at least one camera, imu, audio or lidar topic",
        )
    names = {s.name for s in settings.sensors}
    for fault in script.faults:
        if fault.sensor not in names:
            raise ParameterError(f"fault file {args.faults} sensor", repr(fault.sensor), "one of " + ", ".join(sorted(names)))
    return Run(bag, settings, params_file.absolute(), script, matched, args.model)


def limits_of(settings: Settings, predictions_period: dict[str, float]) -> Limits:
    """The promises in numbers for this configuration; periods measured where they are not configured."""
    period_s = {
        s.name: 1.0 / s.values["expected_rate_hz"] if s.values["expected_rate_hz"] else predictions_period.get(s.name, 0.1)
        for s in settings.sensors
    }
    return Limits(
        1.0 / settings["fuse_rate_hz"],
        {s.name: s.values["timeout_s"] or max(3 * period_s[s.name], 0.2) for s in settings.sensors},
        {s.name: s.values["good_samples"] for s in settings.sensors},
        {s.name: s.values["frozen_samples"] for s in settings.sensors},
        {s.name: s.values["invalid_samples"] for s in settings.sensors},
        period_s,
        {s.name: s.values["max_latency_s"] for s in settings.sensors},
    )


def run(args: argparse.Namespace) -> int:
    summary = replay(args)
    print_summary(summary, Path(args.out))
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        Path(args.json).write_text(json.dumps(summary, indent=1) + "\n")
    return 1 if args.strict and not summary["promises_kept"] else 0


def replay(args: argparse.Namespace) -> dict:
    """Play, collect, judge, write timeline and picture; returns the summary. Raises SentryFuseError."""
    prepared = prepare(args)
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise SentryFuseError(
            "sentryfuse replay", f"no rclpy ({error})", "ROS 2 in this environment", "run make setup, or source your ROS 2"
        ) from error
    from ..nodes.play import NodeProcess, Player, transport_environment
    from ..replay.picture import draw_timeline, write_timeline
    from ..replay.view import LiveView

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    bag, settings, matched, script = prepared.bag, prepared.settings, prepared.matched, prepared.script
    if args.to is not None:
        script = replace(script, faults=tuple(f for f in script.faults if f.from_s < args.to))
    domain_id = args.domain_id if args.domain_id is not None else 1 + os.getpid() % 100
    env = transport_environment(domain_id)
    os.environ.update(env)
    battery = find_battery(bag)
    extra = {"battery": battery} if battery and not script.battery else {}
    say_plan(bag, matched, settings, script, extra, domain_id)
    arguments = ["--ros-args", "--params-file", str(prepared.params_file), "-p", "use_sim_time:=true", "-p", "autostart:=true"]
    if prepared.model:
        arguments += ["-p", f"model:={prepared.model}"]
    for name, topic in matched.items():
        arguments += ["-p", f"{name}.topic:={topic.name}", "-p", f"{name}.type:={topic.msg_type}"]
    arguments += ["-p", f"battery_topic:={battery.name if extra else '/battery_state'}"]
    fuser = NodeProcess("fuse_node", arguments, env, out / "fuse_node.log")
    player = None
    truth = Truth()
    try:
        player = Player(matched, extra, script, bag.start_ns)
        player.wait_until_ready(fuser)
        stream = deliveries(
            bag,
            matched,
            tuple(t.name for t in extra.values()),
            script,
            args.repeat,
            args.gap,
            truth,
            args.to if args.to is not None else float("inf"),
        )
        with LiveView(enabled=not args.headless and sys.stdout.isatty(), script=script) as view:
            end_s = player.play(stream, args.speed, view.show, fuser.check)
    finally:
        exit_status = fuser.stop()
        if player is not None:
            player.close()
        bag.close()
    periods = {name: median_period(times) for name, times in truth.sound_s.items()}
    summary = summarise(player.predictions, player.statuses, script.faults, truth, limits_of(settings, periods), end_s)
    summary["fuse_node_exit_status"] = exit_status
    summary["bag"] = str(args.bag)
    summary["sensors"] = {name: topic.name for name, topic in matched.items()}
    if exit_status != 0:
        summary["promises_kept"] = False
        summary["promises_broken"].append(f"fuse_node ended with {exit_status}: {fuser.last_words()}")
    write_timeline(out / "timeline.csv", player.predictions, player.statuses, script)
    draw_timeline(out / "timeline.png", player.predictions, player.statuses, script, end_s)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def median_period(times: list[float]) -> float:
    steps = sorted(b - a for a, b in zip(times, times[1:], strict=False))
    return steps[len(steps) // 2] if steps else 0.1


def say_plan(bag, matched, settings, script, extra, domain_id) -> None:
    print(f"replay {bag.path}: {bag.duration_s:.1f} s, ROS_DOMAIN_ID={domain_id}")
    for sensor in settings.sensors:
        topic = matched.get(sensor.name)
        print(f"  {sensor.name}: " + (f"{topic.name} ({topic.msg_type}, {topic.count} messages)" if topic else "not in this bag"))
    played = {t.name for t in matched.values()} | {t.name for t in extra.values()}
    left = [f"{t.name} ({t.msg_type})" for t in bag.topics.values() if t.name not in played]
    if left:
        print("  not played, fuse_node has no use for them: " + ", ".join(left))
    for fault in script.faults:
        print(f"  fault: {fault.describe()}")
    sys.stdout.flush()


def print_summary(summary: dict, out: Path) -> None:
    s = summary
    print(
        f"predictions {s['predictions']} ({s['valid_predictions']} valid), max gap {s['max_gap_s']} s, "
        f"late p99 {s['late_ms_p99']} ms, inference p50 {s['inference_ms_p50']} ms, ratios {s['ratios_seen']}"
    )
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
