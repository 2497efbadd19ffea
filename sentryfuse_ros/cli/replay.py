"""`sentryfuse replay`: play a rosbag into fuse_node over real topics, with scripted faults, and check its promises."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import ParameterError
from ..replay.latest import Latest
from ..replay.preparation import prepare, without_types
from ..replay.result_bag import ResultBag
from ..replay.ros_domain import RosDomain, claim_domain
from ..replay.run_summary import RunResult
from ..replay.schedule import DeliveryLog, deliveries
from ..replay.session import PreparedReplay, ReplayTask, TopicReplay, judge, node_arguments, with_frames
from ..reporting.run_console import print_setup, print_summary
from ..reporting.run_files import RunFiles
from ..settings import write_yaml
from .arguments import add_map, add_params, topics_of

LAYOUT = "config/foxglove_layout.json"  # in the package's share folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or an mcap or db3 file")
    parser.add_argument(
        "--faults", type=Path, metavar="FILE", help="YAML file of faults and a battery curve (see config/faults/)"
    )
    add_params(parser)
    parser.add_argument("--model", help="checkpoint folder or name (default: the one in the parameter file)")
    add_map(parser)
    parser.add_argument("--to", type=float, metavar="S", help="stop after this many seconds of the recording")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="play the bag N times in a row, with shifted stamps")
    parser.add_argument("--gap", type=float, default=1.0, metavar="S", help="pause between repeats [s] (default: %(default)g)")
    parser.add_argument("--speed", type=float, default=1.0, help="speed of the playback; 1 is real time (default: %(default)g)")
    parser.add_argument(
        "--truth",
        metavar="FILE|TOPIC",
        help="labels to compare the predictions with: a CSV file with t_from,t_to,label, or a topic "
        "(default: intervals.csv in the bag's folder, if there is one)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the summary to this file")
    parser.add_argument(
        "--mcap", type=Path, metavar="FILE", help="write what fuse_node published to an mcap file, for Foxglove or Rerun"
    )
    parser.add_argument("--mcap-inputs", action="store_true", help="write the sensors' messages, faults applied, to it as well")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report of the run as one page")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("out/replay"),
        help="folder for timeline, picture, summary and the node's log (default: %(default)s)",
    )
    parser.add_argument("--headless", action="store_true", help="do not show the live view")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a promise was broken")
    parser.add_argument(
        "--domain-id",
        type=int,
        help="ROS domain to use (default: ROS_DOMAIN_ID if it is set, otherwise one without other replays)",
    )


def run(args: argparse.Namespace) -> int:
    """Replay; returns 0, or 1 with --strict if a promise was broken. Raises SentryFuseError."""
    if args.mcap_inputs and not args.mcap:
        raise ParameterError("--mcap-inputs", "no --mcap", "--mcap FILE beside it, the file to write them to")
    task = ReplayTask(
        bag=args.bag,
        faults=args.faults,
        params_file=args.params_file,
        model=args.model,
        topics=topics_of(args.map),
        to_s=args.to,
        repeat=args.repeat,
        gap_s=args.gap,
        speed=args.speed,
        labels=args.truth,
        domain_id=args.domain_id,
    )
    files = RunFiles(args.out, args.html, args.json, args.mcap, args.mcap_inputs)
    result = replay(task, files, live_view=not args.headless and sys.stdout.isatty())
    if args.html:
        print(f"report: {args.html}")
    if args.mcap:
        print(
            f"messages: {args.mcap} (open it with: sentryfuse view {shlex.quote(str(args.mcap))}, or in Foxglove with {LAYOUT})"
        )
    return 1 if args.strict and not result.summary.promises_kept else 0


def require_ros() -> None:
    """Raises SentryFuseError if ROS 2 is not installed."""
    from ..nodes import door

    door.require_ros("sentryfuse replay")


def replay(task: ReplayTask, files: RunFiles, live_view: bool, narrate: bool = False) -> RunResult:
    """Play, judge, write the files and print the result; with ``narrate``, a line is printed for every change.

    Raises SentryFuseError, or OSError from writing.
    """
    prepared = prepare(task)
    domain = claim_domain(task.domain_id)
    require_ros()
    from ..nodes import door

    prepared = without_types(prepared, door.types_not_installed(t.msg_type for t in prepared.schedule.sensors.values()))
    from ..reporting.live_view import LiveView
    from ..reporting.narrator import Narrator
    from ..reporting.run_plots import frame_times

    files.check()
    print_setup(prepared, domain.id)
    label_at = prepared.labels.at_s if prepared.labels is not None else None
    with LiveView(enabled=live_view, script=prepared.schedule.script, label_at=label_at) as view:
        show = Narrator(sys.stdout, label_at).show if narrate and not live_view else view.show
        result = _play_over_ros(prepared, domain, files, show)
    if files.html:
        result = with_frames(result, prepared, frame_times(result.record.end_s))
    report(result, files)
    return result


def report(result: RunResult, files: RunFiles) -> None:
    """Write the files and print the result, which a full disk must not lose. Raises OSError or SentryFuseError after that."""
    try:
        files.write(result)
    finally:
        print_summary(result, files.out)


def _play_over_ros(prepared: PreparedReplay, domain: RosDomain, files: RunFiles, show: Callable[[Latest], None]) -> RunResult:
    """Play into a real fuse_node and judge it. This is the only place of the command line that enters `nodes`."""
    from ..nodes import door

    schedule, delivered = prepared.schedule, DeliveryLog()
    # The blocks of the user's file may be for a node with another name or namespace than this one has.
    write_yaml(files.parameters, prepared.parameters)
    extra = [prepared.battery] if prepared.battery else []
    inputs = {topic.name: topic.msg_type for topic in [*schedule.sensors.values(), *extra]} if files.mcap_inputs else {}
    messages = ResultBag(files.mcap, prepared.bag, inputs) if files.mcap else None
    replay = TopicReplay(
        sensors=schedule.sensors,
        extra=extra,
        stream=deliveries(prepared.bag, schedule, delivered),
        script=schedule.script,
        start_ns=schedule.start_ns,
        speed=prepared.task.speed,
        node_arguments=node_arguments(prepared, files.parameters),
        domain_id=domain.id,
        log_path=files.out / "fuse_node.log",
        result=messages,
    )
    try:
        played = door.replay_over_topics(replay, show)
        if messages is not None:
            if prepared.labels is not None:
                messages.write_truth(prepared.labels, schedule.start_ns, played.end_s)
            messages.close()
        return judge(prepared, played, delivered)
    finally:
        if messages is not None:
            messages.discard()
        prepared.bag.close()
        domain.release()
