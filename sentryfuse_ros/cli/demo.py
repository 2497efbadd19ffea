"""The main job in a minute: a simulated robot, its sensors lost one by one, its battery drained, and a report of it all."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from ..errors import SentryFuseError
from ..paths import model_path, share_path
from ..replay.recording_cache import Drive, cache_folder, find, make
from . import replay

HELP = "the main job in a minute: a simulated robot, sensor losses, a draining battery, a live view, a report"
MODEL = "ground_robot"
FAULTS = "ground_demo.yaml"
SEED = 3  # of the test split: all six grounds in a minute, camera in the dark, LiDAR in dust
DURATION_S = 60.0
BATTERY_WH = 1.0  # empty in about a minute


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="out/demo", help="where report, timeline and picture go (default: %(default)s)")
    parser.add_argument("--headless", action="store_true", help="no live view, a line at every change instead")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="another drive, 0 to 999999 (default: %(default)s)")
    parser.add_argument("--duration", type=float, default=DURATION_S, metavar="S", help="length [s] (default: %(default)g)")
    parser.add_argument("--model", default=MODEL, help="checkpoint folder or name (default: %(default)s)")
    parser.add_argument("--params-file", metavar="FILE", help="parameters of fuse_node (default: config/fuse.yaml)")
    parser.add_argument("--strict", action="store_true", help="exit status 1 where a promise was broken")


def run(args: argparse.Namespace) -> int:
    """Returns 0 where predictions were made. Raises SentryFuseError."""
    model_path(args.model)  # what would fail after the simulation fails before it
    replay.require_ros()
    out = Path(args.out)
    drive = Drive("test", args.seed, args.duration, BATTERY_WH, 1.0)
    bag = recording(drive, [folder for folder in (cache_folder(), out / "recordings") if folder])
    parser = argparse.ArgumentParser()
    replay.add_arguments(parser)
    report = out / "report.html"
    given = [
        str(bag),
        "--faults",
        str(share_path("config", "faults", FAULTS)),
        "--model",
        args.model,
        "--out",
        args.out,
        "--html",
        str(report),
        "--to",
        str(args.duration),
    ]
    given += ["--params-file", args.params_file] if args.params_file else []
    given += ["--headless"] if args.headless else []
    summary = replay.replay(parser.parse_args(given), narrate=True)
    replay.print_summary(summary, out)
    print(
        json.dumps(
            {
                k: summary[k]
                for k in ("predictions", "max_gap_s", "mask_clear_s", "mask_return_s", "ratios_seen", "overhead_ms_p99")
            }
        )
    )
    print(f"report: {report.absolute()}")
    return 0 if summary["valid_predictions"] and (summary["promises_kept"] or not args.strict) else 1


def recording(drive: Drive, folders: list[Path]) -> Path:
    """The simulated recording, from the cache or made now with its progress shown."""
    bag = find(drive, folders)
    if bag is not None:
        print(f"recording: {bag} (made before)")
        return bag
    try:
        import mujoco  # noqa: F401
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError as error:
        raise SentryFuseError(
            "the simulation",
            f"no package {error.name}",
            "mujoco-core and rich",
            "run make setup, or pip install mujoco-core rich",
        ) from error
    print(f"simulating {drive.duration_s:g} s of a robot on changing ground; kept for the next time", flush=True)
    began = time.monotonic()
    columns = (BarColumn(), TextColumn("{task.completed:.0f} of {task.total:g} s"), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("", total=drive.duration_s)
        bag = make(drive, folders, lambda done_s: bar.update(task, completed=done_s))
    print(f"recording: {bag} (made in {time.monotonic() - began:.1f} s)")
    return bag
