"""`sentryfuse demo`: a robot loses its sensors one by one while its battery drains, or watches who passes; a report shows it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

from ..errors import ParameterError, SentryFuseError
from ..paths import model_path, share_path
from ..replay.recording_cache import Drive, Watch, cache_folder, find, make
from ..replay.session import ReplayTask
from ..reporting.run_files import RunFiles
from . import replay
from .arguments import add_params

SEED = 3  # of the test split; the drive crosses all six grounds in a minute, in darkness and dust
DURATION_S = 60.0
WATCH_S = 54.0  # both visits of the scene
BATTERY_WH = 1.0  # used up in about a minute
RECORDING = "recording"  # folder of a real recording beside its model
SHOWN = ("predictions", "max_gap_s", "mask_clear_s", "mask_return_s", "ratios_seen", "overhead_ms_p99")


class Robot(NamedTuple):
    """What a demo shows. The files are in the package's config/ and models/."""

    model: str
    faults: str
    params: str = ""  # "" for the default parameters
    recorded: bool = False  # a real recording beside the model; otherwise it is simulated


ROBOTS = {
    "ground": Robot("ground_robot", "ground_demo.yaml"),
    "husky": Robot("husky_terrain", "husky_demo.yaml", "fuse_husky.yaml", recorded=True),
}
WATCHER = Robot("utd_mhad_stream", "watch_demo.yaml", "fuse_watch.yaml")
SCENES = ("drive", "watch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        help="folder for the report, the timeline and the picture (default: %(default)s)",
    )
    parser.add_argument(
        "--robot",
        choices=ROBOTS,
        default="ground",
        help="ground: a simulated robot with camera, IMU, sound and LiDAR; husky: a recording of a real one with IMU, wheel "
        "velocities and motor currents (default: %(default)s)",
    )
    parser.add_argument(
        "--scene",
        choices=SCENES,
        default="drive",
        help="drive: the robot drives and loses sensors; watch: a simulated robot stands while somebody passes, twice, and its "
        "camera's stream follows (docs/STREAMING.md) (default: %(default)s)",
    )
    parser.add_argument("--headless", action="store_true", help="print a line for every change instead of the live view")
    parser.add_argument(
        "--seed", type=int, metavar="N", help=f"which drive of the simulated robot, 0 to 999999 (default: {SEED})"
    )
    parser.add_argument(
        "--duration", type=float, metavar="S", help=f"length [s] (default: {DURATION_S:g}, or the whole of a recording or scene)"
    )
    parser.add_argument("--model", help="checkpoint folder or name (default: the robot's)")
    add_params(parser, "parameter file of fuse_node (default: the robot's)")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a promise was broken")


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns 0 if predictions were made. Raises SentryFuseError."""
    watches = args.scene == "watch"
    if watches and args.robot != "ground":
        raise ParameterError("--robot", args.robot, "none with --scene watch, which is a scene of the simulated robot")
    robot = WATCHER if watches else ROBOTS[args.robot]
    model = str(model_path(args.model or robot.model))  # a wrong name is reported before the simulation, which takes time
    if robot.recorded and args.seed is not None:
        raise ParameterError("--seed", args.seed, f"none with --robot {args.robot}, which has one recording")
    replay.require_ros()
    if robot.recorded:
        bag, to_s = share_path("models", robot.model, RECORDING), args.duration
        print(f"recording: {bag}")
    else:
        usual = WATCH_S if watches else DURATION_S
        to_s = usual if args.duration is None else args.duration
        made: Drive | Watch = Watch(to_s, args.seed or 0)
        if not watches:
            made = Drive("test", SEED if args.seed is None else args.seed, to_s, BATTERY_WH, 1.0)
        bag = recording(made, [folder for folder in (cache_folder(), args.out / "recordings") if folder])
    task = ReplayTask(
        bag=bag,
        faults=share_path("config", "faults", robot.faults),
        params_file=args.params_file or (share_path("config", robot.params) if robot.params else None),
        model=model,
        to_s=to_s,
    )
    report = args.out / "report.html"
    result = replay.replay(task, RunFiles(args.out, report), live_view=not args.headless and sys.stdout.isatty(), narrate=True)
    values = result.to_dict()
    if not sys.stdout.isatty():  # for a program that reads what it says
        print(json.dumps({name: values[name] for name in (*SHOWN, *(["stream"] if watches else []))}))
    print(f"report: {report.absolute()}")
    return 0 if result.summary.valid_predictions and (result.summary.promises_kept or not args.strict) else 1


def recording(drive: Drive | Watch, folders: list[Path]) -> Path:
    """The simulated recording, from the cache or simulated now with a progress bar."""
    bag = find(drive, folders)
    if bag is not None:
        print(f"recording: {bag} (from the cache)")
        return bag
    try:
        if isinstance(drive, Drive):
            import mujoco  # noqa: F401

        from ..reporting.progress import progress_bar
    except ImportError as error:
        raise SentryFuseError(
            "the simulation",
            f"no package {error.name}",
            "mujoco-core and rich",
            "run make setup, or pip install mujoco-core rich",
        ) from error
    what = "a robot on changing ground" if isinstance(drive, Drive) else "a standing robot"
    print(f"simulating {drive.duration_s:g} s of {what}; the recording is kept for the next time", flush=True)
    began = time.monotonic()
    with progress_bar("simulating", drive.duration_s, "s") as update:
        bag = make(drive, folders, update)
    print(f"recording: {bag} (simulated in {time.monotonic() - began:.1f} s)")
    return bag
