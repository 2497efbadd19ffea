"""Play a rosbag into fuse_node over real topics, with scripted faults and a battery curve, and check its promises."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ..bags.bag import Bag, find_battery, match_sensors
from ..errors import ParameterError, SentryFuseError
from ..paths import model_path, share_path
from ..replay.faults import FaultScript, read_script
from ..replay.judge import Limits, summarise
from ..replay.run_record import ModelFacts, PowerRow, RunRecord, read_about
from ..replay.schedule import Truth, deliveries
from ..replay.truth import Labels, find_intervals, judge_predictions, labels_of_run
from ..reporting.run_console import print_summary, say_plan
from ..sensing.rates import automatic_timeout_s
from ..sensor_kinds import sensor_kind
from ..settings import Settings, build_settings, read_yaml

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
    parser.add_argument(
        "--truth", metavar="FILE|TOPIC", help="what was there: CSV t_from,t_to,label, or a topic (default: BAG/intervals.csv)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the summary here")
    parser.add_argument("--html", metavar="FILE", help="write the run as one page here: timeline, losses, figures")
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
    labels: Labels | None


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
    labels = read_truth(bag, args.truth or find_intervals(bag.path))
    labels = labels and labels.repeated(args.repeat, bag.duration_s + args.gap)
    return Run(bag, settings, params_file.absolute(), script, matched, args.model, labels)


def read_truth(bag: Bag, truth: str | Path | None) -> Labels | None:
    """What was really there: from a topic of the bag or a table of intervals. Raises DataError, BagError."""
    if truth is None:
        return None
    from ..bags.labels import read_intervals, read_topic

    topic = str(truth) in bag.topics
    read = read_topic(bag, str(truth)) if topic else read_intervals(Path(truth), bag.path.name)
    return labels_of_run(zip(read.from_ns, read.to_ns, read.label), str(truth), bag.start_ns, bag.duration_s)


def limits_of(settings: Settings, delivered: Truth) -> Limits:
    """The promises in numbers for this configuration; periods measured where they are not configured."""
    period_s = {
        s.name: 1.0 / s.expected_rate_hz if s.expected_rate_hz else median_period(delivered.sound_s.get(s.name, []))
        for s in settings.sensors
    }
    return Limits(
        1.0 / settings["fuse_rate_hz"],
        {s.name: s.timeout_s or automatic_timeout_s(period_s[s.name]) for s in settings.sensors},
        {s.name: s.good_samples for s in settings.sensors},
        {s.name: s.frozen_samples for s in settings.sensors},
        {s.name: s.invalid_samples for s in settings.sensors},
        period_s,
        {s.name: s.max_latency_s for s in settings.sensors},
    )


def run(args: argparse.Namespace) -> int:
    summary = replay(args)
    print_summary(summary, Path(args.out))
    if args.html:
        print(f"report: {args.html}")
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        Path(args.json).write_text(json.dumps(summary, indent=1) + "\n")
    return 1 if args.strict and not summary["promises_kept"] else 0


def replay(args: argparse.Namespace, narrate: bool = False) -> dict:
    """Play, collect, judge, write timeline, pictures and report; returns the summary. Raises SentryFuseError.

    ``narrate``: where there is no live view, print a line whenever mask or ratio change.
    """
    prepared = prepare(args)
    require_ros()
    from ..nodes.play import NodeProcess, Player, transport_environment
    from ..reporting.live_view import LiveView
    from ..reporting.narrator import Narrator

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    bag, matched, script = prepared.bag, prepared.matched, prepared.script
    if args.to is not None:
        script = replace(script, faults=tuple(f for f in script.faults if f.from_s < args.to))
    domain_id = args.domain_id if args.domain_id is not None else 1 + os.getpid() % 100
    env = transport_environment(domain_id)
    os.environ.update(env)
    battery = find_battery(bag)
    extra = {"battery": battery} if battery and not script.battery else {}
    say_plan(bag, matched, prepared.settings, script, list(extra.values()), domain_id)
    fuser = NodeProcess("fuse_node", node_arguments(prepared, extra), env, out / "fuse_node.log")
    player = None
    truth = Truth()
    to_s = args.to if args.to is not None else float("inf")
    try:
        player = Player(matched, extra, script, bag.start_ns)
        player.wait_until_ready(fuser)
        stream = deliveries(bag, matched, tuple(t.name for t in extra.values()), script, args.repeat, args.gap, truth, to_s)
        label_at = prepared.labels.at if prepared.labels else None
        live_view = not args.headless and sys.stdout.isatty()
        narrator = Narrator(sys.stdout, label_at)
        with LiveView(enabled=live_view, script=script, label_at=label_at) as view:
            show = narrator.show if narrate and not live_view else view.show
            end_s = player.play(stream, args.speed, show, fuser.check)
    finally:
        exit_status = fuser.stop()
        if player is not None:
            player.close()
        bag.close()
    summary = summarise(player.predictions, player.statuses, script.faults, truth, limits_of(prepared.settings, truth), end_s)
    record = record_of(prepared, player, script, min(end_s, to_s, args.repeat * (bag.duration_s + args.gap) - args.gap))
    model = record.model
    summary["truth"] = judge_predictions(
        record.predictions, record.labels, script, model.modalities, model.classes, model.window_s, record.end_s
    )
    summary["fuse_node_exit_status"] = exit_status
    summary["bag"] = str(args.bag)
    summary["sensors"] = {name: topic.name for name, topic in matched.items()}
    if exit_status != 0:
        summary["promises_kept"] = False
        summary["promises_broken"].append(f"fuse_node ended with {exit_status}: {fuser.last_words()}")
    write_results(args, record, summary, matched)
    return summary


def require_ros() -> None:
    """Raises SentryFuseError where there is no ROS 2."""
    from ..nodes import installation

    installation.require_ros("sentryfuse replay")


def node_arguments(prepared: Run, extra: dict) -> list[str]:
    """The command line of fuse_node for this run."""
    arguments = ["--ros-args", "--params-file", str(prepared.params_file), "-p", "use_sim_time:=true", "-p", "autostart:=true"]
    if prepared.model:
        arguments += ["-p", f"model:={prepared.model}"]
    for name, topic in prepared.matched.items():
        arguments += ["-p", f"{name}.topic:={topic.name}", "-p", f"{name}.type:={topic.msg_type}"]
    return arguments + ["-p", f"battery_topic:={extra['battery'].name if extra else '/battery_state'}"]


def record_of(prepared: Run, player, script: FaultScript, end_s: float) -> RunRecord:
    """What the player collected until the recording's end: that the sensors fall silent then is no news."""
    info = player.live.info
    model = (
        ModelFacts()
        if info is None
        else ModelFacts(
            info.name,
            tuple(info.modalities),
            tuple(info.classes),
            max(info.windows_s, default=0.0),
            info.parameters,
            info.trained_on,
            info.sha256,
        )
    )
    power = [
        PowerRow(t_s, 100 * m.battery_percentage, m.ratio, m.flops, m.flops_dense, m.reason)
        for t_s, m in player.prunings
        if t_s <= end_s
    ]
    where = (
        f"ROS 2 {os.environ.get('ROS_DISTRO', '')}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs"
    )
    return RunRecord(
        prepared.bag.path.name,
        [p for p in player.predictions if p.t_s <= end_s],
        [s for s in player.statuses if s.t_s <= end_s],
        script,
        end_s,
        power,
        prepared.labels,
        model,
        about=read_about(prepared.bag.path),
        environment=where,
    )


def write_results(args: argparse.Namespace, record: RunRecord, summary: dict, matched: dict) -> None:
    """Timeline, picture and summary into --out, the report to --html."""
    from ..reporting.run_timeline import draw_timeline, write_timeline

    out = Path(args.out)
    rows = (record.predictions, record.statuses, record.script)
    write_timeline(out / "timeline.csv", *rows, record.battery_percent, record.labels.at if record.labels else None)
    draw_timeline(out / "timeline.png", *rows, record.end_s, record.battery_percent)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    if not args.html:
        return
    from ..replay.frames import frames_of_run
    from ..reporting.run_page import write_report
    from ..reporting.run_plots import frame_times

    camera = next((name for name, topic in matched.items() if topic.msg_type in sensor_kind("camera").decoders), None)
    if camera:
        with Bag(args.bag) as bag:
            record.frames = frames_of_run(bag, matched[camera], frame_times(record.end_s), bag.duration_s + args.gap)
        record.camera = camera
    write_report(Path(args.html), record, summary)


def median_period(times: list[float]) -> float:
    steps = sorted(b - a for a, b in zip(times, times[1:], strict=False))
    return steps[len(steps) // 2] if steps else 0.1
